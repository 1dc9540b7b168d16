//! How Go reads and prints the values of flags: its `time`, `strconv` and `encoding/csv`
//! packages, to the letter.

mod duration;
mod line;
mod number;

pub use duration::{DurationError, parse_duration, show_duration};
pub(crate) use line::split_line;
pub use number::{NumberError, parse_bool, parse_float, parse_int, parse_uint, show_float};
