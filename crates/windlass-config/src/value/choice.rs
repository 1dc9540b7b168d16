//! Values that are one word of a few.

use crate::{
    flag::{BadValue, FlagValue, Kind},
    value::plain::read_last,
};

/// Writes an enum of words: its variants, their spelling, and how another word is refused.
macro_rules! choice {
    (
        $(#[doc = $about:literal])+
        $Choice:ident ($form:literal, $expected:literal), $refusal:expr;
        $(
            $(#[doc = $meaning:literal])+
            $Variant:ident = $word:literal,
        )+
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $Choice {
            $($(#[doc = $meaning])+ $Variant,)+
        }

        impl $Choice {
            /// The word on the command line.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$Variant => $word,)+
                }
            }
        }

        impl std::fmt::Display for $Choice {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.as_str())
            }
        }

        impl FlagValue for $Choice {
            const KIND: Kind = Kind::Scalar;
            const FORM: &'static str = $form;
            const EXPECTED: &'static str = $expected;

            fn read(given: &[&str]) -> Result<Self, BadValue> {
                read_last(given, |text| match text {
                    $($word => Ok(Self::$Variant),)+
                    other => Err($refusal(other)),
                })
            }

            fn show(&self) -> String {
                self.as_str().to_owned()
            }
        }
    };
}

choice! {
    /// Whose node groups are scaled.
    CloudProvider ("PROVIDER", "`aws`, since Windlass scales EC2 Auto Scaling groups only"), |name: &str| format!("Unknown cloud provider: {name}");
    /// EC2 Auto Scaling groups.
    Aws = "aws",
    /// None: the groups come from elsewhere, as in a scenario.
    None = "",
}

choice! {
    /// How the nodes that pods need are counted.
    Estimator ("ESTIMATOR", "`binpacking`"), |name: &str| format!("unknown estimator: {name}");
    /// First fit on copies of the group's template.
    Binpacking = "binpacking",
}

choice! {
    /// Which groups belong to this cluster when discovery is given more than once.
    DiscoveryMode ("MODE", "`all` or `any`"), |_: &str| "unknown mode";
    /// Those that carry the tags of all flags.
    All = "all",
    /// Those that carry the tags of at least one flag.
    Any = "any",
}

choice! {
    /// What a group of several instance types is taken for when pods are packed onto it.
    AwsMixedTemplate ("CHOICE", "`first`, `min` or `max`"), |_: &str| "unknown choice";
    /// The first override, as the Go autoscaler has it.
    First = "first",
    /// The least of each resource over all overrides: what is planned fits on any of them.
    Min = "min",
    /// The most of each resource over all overrides.
    Max = "max",
}

choice! {
    /// Which call of Auto Scaling grows a group.
    AwsLaunchApi ("API", "`set-desired-capacity` or `launch-instances`"), |_: &str| "unknown call";
    /// `SetDesiredCapacity`, as the Go autoscaler has it.
    SetDesiredCapacity = "set-desired-capacity",
    /// `LaunchInstances` where the group allows it: it answers with ids and errors at once.
    LaunchInstances = "launch-instances",
}

choice! {
    /// The kind of object that the leader holds.
    ResourceLock ("KIND", "`leases`"), |_: &str| "unsupported kind of lock";
    /// A Lease.
    Leases = "leases",
}

choice! {
    /// How a log line is written.
    LogFormat ("FORMAT", "`text` or `json`"), |_: &str| "unknown format";
    /// For people.
    Text = "text",
    /// One JSON object a line.
    Json = "json",
}
