//! What an instance's lifecycle state in its group means to an autoscaler.

use windlass_aws_client::autoscaling::GroupInstance;

/// The states of AWS, as far as they make a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lifecycle {
    /// It is on its way: `Pending`, `Pending:Proceed`.
    Creating,
    /// A launch hook holds it: `Pending:Wait`. It ends by itself, by the hook's own timeout.
    Held,
    /// It runs.
    Running,
    /// It is going, or AWS will replace it, or it is set aside to be looked at.
    Deleting,
    /// It is not part of the group's capacity: on standby or detached. Nobody's business but its
    /// owner's: it is never a candidate for removal.
    SetAside,
    /// It waits in the warm pool.
    Warm,
}

impl Lifecycle {
    /// Reads AWS's state.
    pub fn of(instance: &GroupInstance) -> Self {
        match instance.lifecycle_state.as_str() {
            "Pending" | "Pending:Proceed" => Self::Creating,
            "Pending:Wait" => Self::Held,
            "Standby" | "EnteringStandby" | "Detaching" | "Detached" => Self::SetAside,
            "Quarantined" | "Terminated" => Self::Deleting,
            state if state.starts_with("Terminating") => Self::Deleting,
            state if state.starts_with("Warmed:") => Self::Warm,
            // `InService`, `ReplacingRootVolume…`, `RootVolumeReplaced`, and what AWS may invent:
            // taken for running, it can be neither double-counted nor deleted by mistake.
            _ => Self::Running,
        }
    }

    /// Whether the instance counts towards the group's desired capacity.
    pub fn counts(self) -> bool {
        matches!(self, Self::Creating | Self::Held | Self::Running)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_told_apart() {
        for (state, lifecycle) in [
            ("Pending", Lifecycle::Creating),
            ("Pending:Wait", Lifecycle::Held),
            ("Pending:Proceed", Lifecycle::Creating),
            ("InService", Lifecycle::Running),
            ("ReplacingRootVolume:Wait", Lifecycle::Running),
            ("Terminating", Lifecycle::Deleting),
            ("Terminating:Wait", Lifecycle::Deleting),
            ("Terminating:Proceed", Lifecycle::Deleting),
            ("Terminating:Retained", Lifecycle::Deleting),
            ("Terminated", Lifecycle::Deleting),
            ("Standby", Lifecycle::SetAside),
            ("Warmed:Stopped", Lifecycle::Warm),
        ] {
            let instance = GroupInstance {
                lifecycle_state: state.to_owned(),
                ..GroupInstance::default()
            };
            assert_eq!(Lifecycle::of(&instance), lifecycle, "{state}");
        }
    }
}
