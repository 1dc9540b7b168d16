//! The table of flags, and the macro that writes a flag once: its name, type, default, help
//! and status stand beside the field of [`Config`] that holds its value.

use crate::config::{self, Config};

/// How a flag takes its value on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` when given without `=`; another value needs the `=`.
    Bool,
    /// Exactly one value; the last occurrence wins.
    Scalar,
    /// One value per occurrence, all are kept; a comma is part of the value.
    List,
    /// Values separated by commas, and the flag may be repeated.
    CommaList,
}

/// What comes of giving a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It does what its help says.
    Acted,
    /// It is read and checked, and a value other than the default is warned about: the
    /// behaviour is still to come.
    NotYet,
    /// It changes nothing, in the Go autoscaler on AWS too or here alone: accepted, and said to do
    /// nothing.
    NoEffect {
        /// Why, as a clause that follows the flag's name.
        why: &'static str,
    },
    /// It does what its help says, and should no longer be written.
    Deprecated {
        /// What to do instead.
        instead: &'static str,
    },
    /// Only its default is allowed.
    Locked {
        /// Why the other values are refused.
        why: &'static str,
    },
    /// It belongs to another cloud: refused by name.
    OtherCloud {
        /// The cloud that reads it.
        cloud: &'static str,
        /// What to do on AWS.
        instead: &'static str,
    },
}

/// A value that a flag cannot take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadValue {
    /// The value as it was given.
    pub(crate) value: String,
    /// What is wrong with it.
    pub(crate) problem: String,
}

impl BadValue {
    pub(crate) fn new(value: &str, problem: impl Into<String>) -> Self {
        Self {
            value: value.to_owned(),
            problem: problem.into(),
        }
    }
}

/// A type that a flag's text is read into.
pub(crate) trait FlagValue: Sized {
    const KIND: Kind;
    /// What a value looks like, for help: `DURATION`, `MIN:MAX`.
    const FORM: &'static str;
    /// What is expected, for errors: follows "expected".
    const EXPECTED: &'static str;

    /// Reads all occurrences of the flag in one command line, in their order; there is at
    /// least one.
    fn read(given: &[&str]) -> Result<Self, BadValue>;

    /// The value as it would be written on the command line, canonical.
    fn show(&self) -> String;

    /// The values of as many occurrences as give it: one, but for a list.
    fn show_each(&self) -> Vec<String> {
        vec![self.show()]
    }
}

/// One flag: all that is known about it.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Name without dashes in front, words separated by dashes.
    pub name: &'static str,
    /// How it takes its value.
    pub kind: Kind,
    /// What a value looks like, for help: `DURATION`.
    pub form: &'static str,
    /// What a value must be, for errors: "a duration such as `10s`".
    pub expected: &'static str,
    /// The heading it stands under in help.
    pub heading: &'static str,
    /// What comes of giving it.
    pub status: Status,
    pub(crate) help_lines: &'static [&'static str],
    pub(crate) field: Field,
}

/// Where a flag's value is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Field {
    /// In [`Config`].
    Config {
        group: &'static str,
        name: &'static str,
        read: fn(&mut Config, &[&str]) -> Result<(), BadValue>,
        show: fn(&Config) -> String,
        show_each: fn(&Config) -> Vec<String>,
    },
    /// Nowhere: the flag is refused.
    Nowhere { default: &'static str },
}

impl Flag {
    /// The help text: paragraphs separated by an empty line, lines unwrapped.
    pub fn help(&self) -> String {
        let lines = self.help_lines.iter().map(|line| line.trim());
        let mut text = String::new();
        for line in lines {
            if line.is_empty() {
                text.push_str("\n\n");
            } else {
                if !text.is_empty() && !text.ends_with('\n') {
                    text.push(' ');
                }
                text.push_str(line);
            }
        }
        text
    }

    /// The default, as it would be written on the command line; empty when there is none.
    pub fn default_text(&self) -> String {
        self.value_text(&Config::default())
    }

    /// The flag's value in `config`, as it would be written on the command line.
    pub fn value_text(&self, config: &Config) -> String {
        match self.field {
            Field::Config { show, .. } => show(config),
            Field::Nowhere { default } => default.to_owned(),
        }
    }

    /// The arguments that give this flag its value in `config`: several for a list.
    pub(crate) fn arguments(&self, config: &Config) -> Vec<String> {
        match self.field {
            Field::Config { show_each, .. } => show_each(config)
                .into_iter()
                .map(|value| format!("--{}={value}", self.name))
                .collect(),
            Field::Nowhere { .. } => Vec::new(),
        }
    }

    /// The group of [`Config`] and the field in it that hold the flag's value; `None` for a flag
    /// that is refused.
    pub fn field(&self) -> Option<(&'static str, &'static str)> {
        match self.field {
            Field::Config { group, name, .. } => Some((group, name)),
            Field::Nowhere { .. } => None,
        }
    }

    /// Whether the flag is one that the Go autoscaler does not have.
    pub fn is_addition(&self) -> bool {
        config::ADDITIONS.contains(&self.name)
    }

    const fn other_cloud(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        (cloud, instead): (&'static str, &'static str),
        help_lines: &'static [&'static str],
    ) -> Self {
        Self {
            name,
            kind,
            form: "VALUE",
            expected: "a value",
            heading: "Flags of other clouds",
            status: Status::OtherCloud { cloud, instead },
            help_lines,
            field: Field::Nowhere { default },
        }
    }
}

/// Every flag, by heading, in the order of the help.
pub fn flags() -> impl Iterator<Item = &'static Flag> + Clone {
    config::GROUPS
        .iter()
        .copied()
        .chain(std::iter::once(OTHER_CLOUDS))
        .flatten()
}

/// The headings of the help in their order, each with its flags.
pub fn headings() -> impl Iterator<Item = (&'static str, &'static [Flag])> {
    config::GROUPS
        .iter()
        .copied()
        .chain(std::iter::once(OTHER_CLOUDS))
        .map(|group| (group[0].heading, group))
}

/// The flag of that name; `_` counts as `-`, as in the Go autoscaler's flag set.
pub fn flag(name: &str) -> Option<&'static Flag> {
    let name = name.replace('_', "-");
    flags().find(|flag| flag.name == name)
}

const GCE: (&str, &str) = (
    "GCE",
    "leave it out: Windlass works on AWS and reads groups from Auto Scaling",
);

/// Flags that only another cloud's provider reads.
static OTHER_CLOUDS: &[Flag] = &[
    Flag::other_cloud(
        "regional",
        Kind::Bool,
        "false",
        GCE,
        &["The cluster spans the zones of a region. On AWS a group's zones are its subnets'."],
    ),
    Flag::other_cloud(
        "bulk-mig-instances-listing-enabled",
        Kind::Bool,
        "false",
        GCE,
        &["List the instances of all managed instance groups in one call."],
    ),
    Flag::other_cloud(
        "gce-concurrent-refreshes",
        Kind::Scalar,
        "1",
        GCE,
        &["How many objects of a kind are refreshed at once."],
    ),
    Flag::other_cloud(
        "gce-mig-instances-min-refresh-wait-time",
        Kind::Scalar,
        "5s",
        GCE,
        &["Shortest time between two refreshes of one managed instance group's instances."],
    ),
    Flag::other_cloud(
        "clusterapi-cloud-config-authoritative",
        Kind::Bool,
        "false",
        (
            "Cluster API",
            "leave it out: Windlass resizes Auto Scaling groups itself, without a management cluster",
        ),
        &["Do not fall back to `--kubeconfig` for the management cluster."],
    ),
];

/// Writes a group of flags: the struct that holds their values, its defaults, and their rows
/// in the table. A field's documentation is its flag's help.
macro_rules! flag_group {
    (
        $(#[doc = $about:literal])+
        struct $Group:ident in $place:ident, $heading:literal;
        $(
            $(#[doc = $help:literal])+
            $name:literal => $field:ident: $Type:ty = $default:expr, $status:expr;
        )+
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Group {
            $(
                #[doc = concat!("`--", $name, "`")]
                #[doc = ""]
                $(#[doc = $help])+
                pub $field: $Type,
            )+
        }

        impl Default for $Group {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl $Group {
            pub(super) const FLAGS: &'static [$crate::flag::Flag] = &[
                $($crate::flag::Flag {
                    name: $name,
                    kind: <$Type as $crate::flag::FlagValue>::KIND,
                    form: <$Type as $crate::flag::FlagValue>::FORM,
                    expected: <$Type as $crate::flag::FlagValue>::EXPECTED,
                    heading: $heading,
                    status: {
                        #[allow(
                            unused_imports,
                            clippy::allow_attributes,
                            reason = "most rows name a status from here, some a constant"
                        )]
                        use $crate::flag::Status::{Acted, Deprecated, Locked, NoEffect, NotYet};
                        $status
                    },
                    help_lines: &[$($help),+],
                    field: $crate::flag::Field::Config {
                        group: stringify!($place),
                        name: stringify!($field),
                        read: |config, given| {
                            config.$place.$field = $crate::flag::FlagValue::read(given)?;
                            Ok(())
                        },
                        show: |config| $crate::flag::FlagValue::show(&config.$place.$field),
                        show_each: |config| {
                            $crate::flag::FlagValue::show_each(&config.$place.$field)
                        },
                    },
                },)+
            ];
        }
    };
}
pub(crate) use flag_group;
