//! How Go reads and prints the values of flags: its `strconv` and `encoding/csv` packages, to
//! the letter. Durations are in [`windlass_model`], since annotations hold them too.

mod line;
mod number;

pub(crate) use line::{join_line, split_line};
pub use number::{NumberError, parse_bool, parse_float, parse_int, parse_uint, show_float};
