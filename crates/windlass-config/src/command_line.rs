//! The command line's grammar, which is that of Go's `pflag`.

use crate::{
    config::Config,
    diagnostic::{FlagError, Warning},
    flag::{Field, Flag, Kind, Status, flag, flags},
    grammar::parse_bool,
    suggestion::near_names,
};

/// The arguments as flags with their values, before any value is read.
#[derive(Default)]
struct Given {
    /// Each flag that was given, in the order of its first occurrence, with its values.
    flags: Vec<(&'static Flag, Vec<String>)>,
    warnings: Vec<Warning>,
    errors: Vec<FlagError>,
}

impl Given {
    fn add(&mut self, flag: &'static Flag, value: String) {
        match self
            .flags
            .iter_mut()
            .find(|(known, _)| known.name == flag.name)
        {
            Some((_, values)) => values.push(value),
            None => self.flags.push((flag, vec![value])),
        }
    }
}

/// Reads the arguments into a configuration. What is wrong with single flags is returned
/// beside it: their fields keep the defaults.
///
/// `Err` where help was asked for.
pub(crate) fn read<S: AsRef<str>>(
    arguments: impl IntoIterator<Item = S>,
) -> Result<(Config, Vec<Warning>, Vec<FlagError>), Vec<FlagError>> {
    let Given {
        flags: given,
        mut warnings,
        mut errors,
    } = split(arguments)?;
    let mut config = Config::default();
    for (flag, values) in &given {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        match (flag.status, flag.field) {
            (Status::OtherCloud { cloud, instead }, _) => errors.push(FlagError::OtherCloud {
                flag: flag.name,
                cloud,
                instead,
            }),
            (_, Field::Config { read, .. }) => {
                // Each bad item of a list is reported; of the others, the first bad value.
                let first_bad = read(&mut config, &values).err();
                let bad_values = match flag.kind {
                    Kind::List if first_bad.is_some() => values
                        .iter()
                        .filter_map(|value| read(&mut config, &[value]).err())
                        .collect(),
                    _ => Vec::from_iter(first_bad),
                };
                errors.extend(bad_values.into_iter().map(|bad| FlagError::BadValue {
                    flag: flag.name,
                    value: bad.value,
                    problem: bad.problem,
                    expected: flag.expected,
                }));
            }
            (_, Field::Nowhere { .. }) => {}
        }
    }
    let default = Config::default();
    warnings.extend(
        given
            .iter()
            .filter_map(|(flag, _)| warning(flag, &config, &default)),
    );
    Ok((config, warnings, errors))
}

fn warning(flag: &Flag, config: &Config, default: &Config) -> Option<Warning> {
    let name = flag.name;
    match flag.status {
        Status::NotYet => {
            let value = flag.value_text(config);
            (value != flag.value_text(default)).then_some(Warning::NotYet { flag: name, value })
        }
        Status::NoEffect { why } => Some(Warning::NoEffect { flag: name, why }),
        Status::Deprecated { instead } => Some(Warning::Deprecated {
            flag: name,
            instead,
        }),
        Status::Acted | Status::Locked { .. } | Status::OtherCloud { .. } => None,
    }
}

/// Tells flags, their values and other arguments apart.
fn split<S: AsRef<str>>(arguments: impl IntoIterator<Item = S>) -> Result<Given, Vec<FlagError>> {
    let mut given = Given::default();
    let mut arguments = arguments.into_iter();
    // The boolean flag that the argument before has set without `=`.
    let mut bare_bool = None;
    while let Some(argument) = arguments.next() {
        let argument = argument.as_ref();
        let after = bare_bool.take();
        if argument == "--" {
            given
                .warnings
                .extend(arguments.map(|rest| Warning::Argument {
                    argument: rest.as_ref().to_owned(),
                    after: None,
                }));
            break;
        }
        let (found, inline) = if let Some(long) = argument.strip_prefix("--") {
            long_flag(argument, long)
        } else if let Some(short) = argument.strip_prefix('-').filter(|short| !short.is_empty()) {
            short_flag(argument, short)
        } else {
            given.warnings.push(Warning::Argument {
                argument: argument.to_owned(),
                after: after.filter(|_| parse_bool(argument).is_ok()),
            });
            continue;
        };
        let flag = match found {
            Ok(flag) => flag,
            Err(FlagError::Help) => return Err(vec![FlagError::Help]),
            Err(error) => {
                given.errors.push(error);
                continue;
            }
        };
        let value = match inline {
            Some(value) => Some(value.to_owned()),
            None if flag.kind == Kind::Bool => {
                bare_bool = Some(flag.name);
                Some("true".to_owned())
            }
            None => arguments.next().map(|value| value.as_ref().to_owned()),
        };
        match value {
            Some(value) => given.add(flag, value),
            None => given.errors.push(FlagError::MissingValue {
                flag: flag.name,
                expected: flag.expected,
            }),
        }
    }
    Ok(given)
}

/// A flag, and the value in the same argument.
type FoundFlag<'a> = (Result<&'static Flag, FlagError>, Option<&'a str>);

/// `--name` or `--name=value`.
fn long_flag<'a>(argument: &str, long: &'a str) -> FoundFlag<'a> {
    let (name, value) = match long.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (long, None),
    };
    if name.is_empty() || name.starts_with('-') {
        let given = argument.to_owned();
        return (Err(FlagError::Syntax { given }), value);
    }
    let found = flag(name).ok_or_else(|| {
        if name == "help" {
            return FlagError::Help;
        }
        FlagError::Unknown {
            given: format!("--{name}"),
            suggestions: dashed(near_names(&name.replace('_', "-"))),
        }
    });
    (found, value)
}

/// `-v4`, `-v=4` or `-v`: one letter, then its value. Only flags of one letter have this form;
/// a long name behind a single dash is a frequent slip.
fn short_flag<'a>(argument: &str, short: &'a str) -> FoundFlag<'a> {
    let mut letters = short.chars();
    let Some(letter) = letters.next() else {
        let given = argument.to_owned();
        return (Err(FlagError::Syntax { given }), None);
    };
    let rest = letters.as_str();
    let value = match rest.strip_prefix('=') {
        Some(value) => Some(value),
        None => Some(rest).filter(|rest| !rest.is_empty()),
    };
    let name = short.split('=').next().unwrap_or(short).replace('_', "-");
    let long_name = flags().find(|flag| flag.name == name && flag.name.len() > 1);
    let found = match (long_name, flag(letter.encode_utf8(&mut [0; 4]))) {
        (None, Some(flag)) => Ok(flag),
        (None, None) if letter == 'h' && value.is_none() => Err(FlagError::Help),
        (long_name, _) => {
            let suggestions = match long_name {
                Some(flag) => vec![flag.name.to_owned()],
                None => near_names(&name),
            };
            Err(FlagError::Unknown {
                given: format!("-{}", short.split('=').next().unwrap_or(short)),
                suggestions: dashed(suggestions),
            })
        }
    };
    (found, value)
}

fn dashed(names: Vec<String>) -> Vec<String> {
    names.into_iter().map(|name| format!("--{name}")).collect()
}
