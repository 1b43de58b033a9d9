//! The `fluxbay` command.
fn main() {}
