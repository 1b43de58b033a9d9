#![doc = include_str!("../README.md")]

mod block;
mod column;
mod config;
mod dataset;
mod encoded;
mod encoding;
mod hashing;
mod header;
mod input_rows;
mod inputs;
mod lists;
mod number;
mod part;
mod piece;
mod rows;
pub mod skipped;
pub mod statistics;
mod storage;
mod table;

pub use block::{Block, Plans};
pub use column::Kind;
pub use config::{Missing, OnBadRow, Settings, Task};
pub use encoded::Encoded;
pub use encoding::{Encoding, Feature, Learned};
pub use input_rows::InputRows;
pub use inputs::{InputEncoder, bad_row};
pub use lists::{Element, Length, ListEncoding, ListForm, Lists};
pub use number::{Number, NumberFormat};
pub use part::{Part, Slot, Value};
pub use piece::{Piece, PieceBuilder, PiecePlans};
pub use rows::{MissingWords, Raw, Rows};
pub use table::{Reader, Table};
