//! An operator's own commands around the join.

use std::future;

use windlass_provision::join::{CommandConfig, Phase};

use super::{Context, Stop, kubeadm};

/// Runs them one after the other. One that fails stops the join only where it is required.
pub(super) async fn run(
    context: &Context<'_>,
    phase: Phase,
    commands: &[CommandConfig],
) -> Result<(), Stop> {
    if commands.is_empty() || context.is_skipped(phase) {
        return Ok(());
    }
    for command in commands {
        let name = command.name();
        if context.dry_run {
            context.report.say(&format!("{phase}: would run `{name}`"));
            continue;
        }
        context.report.say(&format!("{phase}: `{name}`"));
        // What comes before the join is a part of its time.
        let deadline = match phase {
            Phase::PreJoin => command.timeout.min(context.time_left()),
            _ => command.timeout,
        };
        let bash = kubeadm::command("bash".as_ref(), &["-c", &command.run]);
        let ended = kubeadm::run(context, phase.name(), bash, deadline, future::pending()).await;
        let Err(trouble) = ended else {
            continue;
        };
        let why = trouble.told_of(&format!("`{name}`"));
        if command.required {
            return Err(Stop::for_good(phase, why));
        }
        context
            .report
            .say(&format!("{phase}: {why}; it is not required"));
    }
    Ok(())
}
