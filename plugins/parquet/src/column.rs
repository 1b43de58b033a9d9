//! What the values of a column mean.

use fluxbay_plugin::prelude::*;
use fluxbay_table::{Element, Kind, Length, ListForm, Number, Piece, PieceBuilder, Raw};
use parquet::{
    basic::{ConvertedType, LogicalType, Repetition, TimeUnit, Type},
    column::reader::ColumnReader,
    data_type::{ByteArray, FixedLenByteArray, Int96},
    schema::types::{ColumnDescriptor, SchemaDescriptor, Type as Node},
};

/// Meaning of the values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Meaning {
    /// `true` and `false`.
    Truth,
    /// Whole numbers divided by this power of ten: decimals, points in time.
    Scaled(u32),
    /// Whole numbers without a sign.
    Unsigned,
    /// Numbers in floating point, of any width.
    Float,
    /// Half precision in two bytes.
    Half,
    /// Points in time of 96 bits, as old programs write them.
    Moment,
    /// Decimals as bytes, the most significant one first.
    Bytes(u32),
    /// UTF-8 text.
    Text,
    /// Bytes that mean nothing else.
    Binary,
    /// Something that is no value, such as a list of lists.
    Other(&'static str),
}

impl Meaning {
    /// Decimals of whole numbers.
    fn decimals(self) -> u32 {
        if let Meaning::Scaled(decimals) = self { decimals } else { 0 }
    }

    /// A whole number of 32 bits.
    fn widen(self, value: i32) -> i64 {
        match self {
            Meaning::Unsigned => i64::from(value.cast_unsigned()),
            _ => i64::from(value),
        }
    }
}

/// A column of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    pub name: String,
    /// Of its values, or of the elements of its lists.
    pub meaning: Meaning,
    /// Definition level of a value that is not null.
    level: i16,
    /// Definition level from which on a list has an element, if values are lists.
    list: Option<i16>,
}

/// What the columns of a file hold.
pub fn contents(schema: &SchemaDescriptor) -> Vec<Content> {
    schema.columns().iter().map(|column| content(schema.root_schema(), column)).collect()
}

fn content(root: &Node, column: &ColumnDescriptor) -> Content {
    let parts = column.path().parts();
    let level = column.max_def_level();
    let plain = |meaning| Content { name: parts.join("."), meaning, level, list: None };
    let meaning = meaning(column);
    if column.max_rep_level() == 0 {
        return plain(meaning);
    }
    // The repeated node above the elements, or the elements themselves.
    let (mut node, mut defined, mut repeated) = (root, 0, None);
    for (depth, part) in parts.iter().enumerate() {
        let Some(next) = node.get_fields().iter().find(|field| field.name() == part) else {
            return plain(Meaning::Other("a damaged schema"));
        };
        node = next;
        let info = node.get_basic_info();
        let repetition = info.has_repetition().then(|| info.repetition());
        defined += i16::from(repetition.is_some_and(|it| it != Repetition::REQUIRED));
        let children = if node.is_primitive() { 0 } else { node.get_fields().len() };
        if repetition == Some(Repetition::REPEATED) {
            repeated = Some((depth, defined, children));
        }
        if children == 0 {
            break;
        }
    }
    let Some((depth, first, children)) = repeated.filter(|_| column.max_rep_level() == 1) else {
        return plain(Meaning::Other("lists of lists"));
    };
    let name = match parts.len() - depth {
        // A repeated value without a group around it.
        1 if depth == 0 || !is_list(root, &parts[..depth]) => parts.join("."),
        1 | 2 if children < 2 => parts[..depth].join("."),
        _ => return plain(Meaning::Other("lists of structures")),
    };
    let meaning = match meaning {
        Meaning::Text | Meaning::Binary => Meaning::Other("lists of texts"),
        meaning => meaning,
    };
    Content { name, meaning, level, list: Some(first) }
}

/// Whether the node at a path is marked as a list.
fn is_list(root: &Node, parts: &[String]) -> bool {
    let mut node = root;
    for part in parts {
        let Some(next) = node.get_fields().iter().find(|field| field.name() == part) else {
            return false;
        };
        node = next;
    }
    let info = node.get_basic_info();
    info.converted_type() == ConvertedType::LIST
        || info.logical_type_ref() == Some(&LogicalType::List)
}

/// What the values of a column mean.
fn meaning(column: &ColumnDescriptor) -> Meaning {
    let digits = |unit: TimeUnit| match unit {
        TimeUnit::MILLIS => 3,
        TimeUnit::MICROS => 6,
        TimeUnit::NANOS => 9,
    };
    let scale = match (column.logical_type_ref(), column.converted_type()) {
        (Some(LogicalType::Decimal(_)), _) | (None, ConvertedType::DECIMAL) => {
            column.type_scale().unsigned_abs()
        }
        (Some(LogicalType::Timestamp(time) | LogicalType::Time(time)), _) => digits(time.unit),
        (None, ConvertedType::TIMESTAMP_MILLIS | ConvertedType::TIME_MILLIS) => 3,
        (None, ConvertedType::TIMESTAMP_MICROS | ConvertedType::TIME_MICROS) => 6,
        _ => 0,
    };
    let unsigned = match (column.logical_type_ref(), column.converted_type()) {
        (Some(LogicalType::Integer(integer)), _) => !integer.is_signed,
        (_, converted) => matches!(
            converted,
            ConvertedType::UINT_8
                | ConvertedType::UINT_16
                | ConvertedType::UINT_32
                | ConvertedType::UINT_64
        ),
    };
    let decimal = matches!(column.logical_type_ref(), Some(LogicalType::Decimal(_)))
        || column.converted_type() == ConvertedType::DECIMAL;
    match column.physical_type() {
        Type::BOOLEAN => Meaning::Truth,
        Type::INT32 | Type::INT64 if unsigned => Meaning::Unsigned,
        Type::INT32 | Type::INT64 => Meaning::Scaled(scale),
        Type::INT96 => Meaning::Moment,
        Type::FLOAT | Type::DOUBLE => Meaning::Float,
        Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY if decimal => Meaning::Bytes(scale),
        Type::BYTE_ARRAY => Meaning::Text,
        Type::FIXED_LEN_BYTE_ARRAY => match column.logical_type_ref() {
            Some(LogicalType::Float16) => Meaning::Half,
            _ => Meaning::Binary,
        },
    }
}

impl Content {
    /// How a table reads it.
    pub fn kind(&self) -> Kind {
        if self.list.is_some() {
            let length = Length::Any(usize::MAX);
            return Kind::Lists(ListForm { of: Element::Numbers, length, vocabulary: None });
        }
        match self.meaning {
            Meaning::Truth | Meaning::Text | Meaning::Binary | Meaning::Other(_) => Kind::Words,
            _ => Kind::Numbers,
        }
    }

    /// What cannot be read, if the column holds that. `bytes` says whether its bytes are wanted.
    pub fn refused(&self, bytes: bool) -> Option<&'static str> {
        match self.meaning {
            Meaning::Other(what) => Some(what),
            Meaning::Binary if !bytes => Some("bytes"),
            _ => None,
        }
    }
}

/// A value.
pub enum Cell {
    Missing,
    Number(Number),
    Text(ByteArray),
    Word(&'static str),
    List(Vec<f64>),
}

impl Cell {
    /// The value for a table; `bytes` says whether white space around a text belongs to it.
    pub fn raw(&self, bytes: bool) -> Raw<'_> {
        match self {
            Cell::Text(text) if bytes => Raw::Text(text.data()),
            Cell::List(list) => Raw::List(list),
            Cell::Missing => Raw::Missing,
            Cell::Number(number) => Raw::Number(*number),
            Cell::Text(text) => Raw::Text(text.data().trim_ascii()),
            Cell::Word(word) => Raw::Text(word.as_bytes()),
        }
    }

    /// As an element of a list.
    fn element(&self) -> f64 {
        match self {
            Cell::Number(number) => number.value,
            Cell::Word("true") => 1.0,
            Cell::Word("false") => 0.0,
            Cell::Word("inf") => f64::INFINITY,
            Cell::Word("-inf") => f64::NEG_INFINITY,
            _ => f64::NAN,
        }
    }

    fn whole(value: i64, decimals: u32) -> Cell {
        let float = || Number::float(value as f64 / 10_f64.powi(decimals as i32));
        Cell::Number(Number::decimal(value, decimals).unwrap_or_else(float))
    }

    /// NaN is a missing value; an infinite one is a word, since no column of numbers can hold it.
    fn float(value: f64) -> Cell {
        match value {
            _ if value.is_nan() => Cell::Missing,
            f64::INFINITY => Cell::Word("inf"),
            f64::NEG_INFINITY => Cell::Word("-inf"),
            _ => Cell::Number(Number::float(value)),
        }
    }

    fn decimal(bytes: &[u8], decimals: u32) -> Cell {
        // As many bytes as 38 digits need.
        let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
        let fill = if negative { 0xff } else { 0 };
        let mut wide = [fill; 16];
        let bytes = &bytes[bytes.len().saturating_sub(16)..];
        wide[16 - bytes.len()..].copy_from_slice(bytes);
        let value = i128::from_be_bytes(wide);
        match i64::try_from(value) {
            Ok(value) => Cell::whole(value, decimals),
            Err(_) => Cell::float(format!("{value}e-{decimals}").parse().unwrap_or(f64::NAN)),
        }
    }
}

/// Leaves out the next `rows` values of a column.
///
/// # Errors
/// The file is damaged.
pub fn skip(reader: &mut ColumnReader, rows: usize) -> Result<()> {
    macro_rules! skipped {
        ($($variant:ident),+) => {
            match reader { $(ColumnReader::$variant(reader) => reader.skip_records(rows)),+ }
        };
    }
    let skipped = skipped!(
        BoolColumnReader,
        Int32ColumnReader,
        Int64ColumnReader,
        Int96ColumnReader,
        FloatColumnReader,
        DoubleColumnReader,
        ByteArrayColumnReader,
        FixedLenByteArrayColumnReader
    );
    skipped.map(drop).map_err(|error| Error::new(error.to_string()))
}

/// Reads the next `rows` values of a column into `cells`.
///
/// # Errors
/// The file is damaged, or the column ends before.
pub fn read(
    reader: &mut ColumnReader,
    content: &Content,
    rows: usize,
    cells: &mut Vec<Cell>,
) -> Result<()> {
    read_with(reader, content, rows, None, cells).map(drop)
}

/// Reads the next `rows` values of a column as a piece: all at once where none is missing and the table takes
/// them so, else one by one. `cells` is room for the latter.
///
/// # Errors
/// As [`read`].
pub fn piece(
    reader: &mut ColumnReader,
    content: &Content,
    rows: usize,
    builder: &mut PieceBuilder,
    cells: &mut Vec<Cell>,
) -> Result<Piece> {
    if let Some(piece) = read_with(reader, content, rows, Some(builder), cells)? {
        return Ok(piece);
    }
    cells.iter().for_each(|cell| builder.push(cell.raw(false)));
    Ok(builder.finish())
}

/// Reads the next `rows` values of a column into `cells`, or into a piece if `builder` takes them at once.
fn read_with(
    reader: &mut ColumnReader,
    content: &Content,
    rows: usize,
    builder: Option<&mut PieceBuilder>,
    cells: &mut Vec<Cell>,
) -> Result<Option<Piece>> {
    let Content { meaning, level: max_level, list, .. } = *content;
    let (mut levels, mut repeats) = (Vec::new(), Vec::new());
    cells.clear();
    macro_rules! values {
        ($reader:expr, $type:ty, $cell:expr) => {
            values!($reader, $type, $cell, |_, _, _| None)
        };
        ($reader:expr, $type:ty, $cell:expr, $piece:expr) => {{
            let mut values: Vec<$type> = Vec::new();
            let levels_given = (max_level > 0).then_some(&mut levels);
            let (records, found, _) = $reader
                .read_records(rows, levels_given, list.map(|_| &mut repeats), &mut values)
                .map_err(|error| Error::new(error.to_string()))?;
            if records != rows || (max_level == 0 && found != rows) {
                bail!("{records} values are left of a row group that needs {rows}");
            }
            let piece: fn(&[$type], Meaning, &mut PieceBuilder) -> Option<Piece> = $piece;
            if found == rows
                && list.is_none()
                && let Some(piece) = builder.and_then(|builder| piece(&values, meaning, builder))
            {
                return Ok(Some(piece));
            }
            let cell: fn($type, Meaning) -> Cell = $cell;
            let mut values = values.into_iter().map(|value| cell(value, meaning));
            if let Some(first) = list {
                lists(&mut values, first, max_level, (&levels, &repeats), cells);
            } else if max_level == 0 {
                cells.extend(values);
            } else {
                for level in &levels {
                    cells.push(match *level == max_level {
                        true => values.next().unwrap_or(Cell::Missing),
                        false => Cell::Missing,
                    });
                }
            }
        }};
    }
    match reader {
        ColumnReader::BoolColumnReader(reader) => {
            values!(reader, bool, |value, _| { Cell::Word(if value { "true" } else { "false" }) })
        }
        ColumnReader::Int32ColumnReader(reader) => values!(
            reader,
            i32,
            |value, meaning| Cell::whole(meaning.widen(value), meaning.decimals()),
            |values, meaning, builder| {
                let wide: Vec<i64> = values.iter().map(|value| meaning.widen(*value)).collect();
                builder.wholes(&wide, meaning.decimals())
            }
        ),
        ColumnReader::Int64ColumnReader(reader) => values!(
            reader,
            i64,
            |value, meaning| match meaning {
                Meaning::Unsigned if value < 0 => Cell::float(value.cast_unsigned() as f64),
                _ => Cell::whole(value, meaning.decimals()),
            },
            |values, meaning, builder| {
                // Those of 64 bits look like negative ones.
                let large = meaning == Meaning::Unsigned && values.iter().any(|value| *value < 0);
                if large { None } else { builder.wholes(values, meaning.decimals()) }
            }
        ),
        ColumnReader::Int96ColumnReader(reader) => {
            values!(reader, Int96, |value, _| Cell::whole(value.to_nanos(), 9));
        }
        ColumnReader::FloatColumnReader(reader) => {
            values!(reader, f32, |value, _| Cell::float(f64::from(value)), |values, _, builder| {
                let wide: Vec<f64> = values.iter().copied().map(f64::from).collect();
                builder.floats(&wide)
            })
        }
        ColumnReader::DoubleColumnReader(reader) => {
            values!(reader, f64, |value, _| Cell::float(value), |values, _, builder| builder
                .floats(values))
        }
        ColumnReader::ByteArrayColumnReader(reader) => {
            values!(reader, ByteArray, |value, meaning| match meaning {
                Meaning::Bytes(decimals) => Cell::decimal(value.data(), decimals),
                _ => Cell::Text(value),
            });
        }
        ColumnReader::FixedLenByteArrayColumnReader(reader) => {
            values!(reader, FixedLenByteArray, |value, meaning| match meaning {
                Meaning::Half => match *value.data() {
                    [low, high] => Cell::float(f64::from(half::f16::from_le_bytes([low, high]))),
                    _ => Cell::Missing,
                },
                Meaning::Bytes(decimals) => Cell::decimal(value.data(), decimals),
                Meaning::Binary => Cell::Text(value.into()),
                _ => Cell::Missing,
            });
        }
    }
    Ok(None)
}

/// Puts values together to lists. `first` is the definition level from which on there is an element, `most`
/// that of an element that is not null.
fn lists(
    values: &mut dyn Iterator<Item = Cell>,
    first: i16,
    most: i16,
    (levels, repeats): (&[i16], &[i16]),
    cells: &mut Vec<Cell>,
) {
    for (level, repeat) in levels.iter().zip(repeats) {
        if *repeat == 0 {
            cells.push(match *level + 1 < first {
                true => Cell::Missing,
                false => Cell::List(Vec::new()),
            });
        }
        if let Some(Cell::List(list)) = cells.last_mut().filter(|_| *level >= first) {
            let value = if *level == most { values.next() } else { None };
            list.push(value.map_or(f64::NAN, |value| value.element()));
        }
    }
}
