use anyhow::{Context as _, Result};
use tokio::runtime::Handle;
use tracing::info;
use windlass_config::{Config, Expander};
use windlass_core::{Decision, Input, Progress};
use windlass_grpc_expander::GrpcExpander;
use windlass_scheduler::Profiles;

/// The server of the expander `grpc`, where the chain has that. A certificate that cannot be read
/// ends the process, as it ends the Go autoscaler.
pub(crate) fn server(config: &Config) -> Result<Option<GrpcExpander>> {
    let flags = &config.scale_up;
    let (true, Some(path)) = (
        flags.expander.as_slice().contains(&Expander::Grpc),
        &flags.grpc_expander_cert,
    ) else {
        return Ok(None);
    };
    let use_certificate = || format!("use --grpc-expander-cert={path}");
    let certificate = std::fs::read(path).with_context(use_certificate)?;
    let address = flags.grpc_expander_url.as_deref().unwrap_or_default();
    let expander = GrpcExpander::new(address, &certificate).with_context(use_certificate)?;
    info!(address, "the gRPC expander is asked which groups grow");
    Ok(Some(expander))
}

/// Decides, and asks the expander `grpc` what the decision wants to know of it. To be called from
/// a thread that may block: the server has some seconds for each question, and with the last
/// answer the loop is decided anew from what it began with.
pub(crate) fn decide(
    input: &Input<'_>,
    profiles: &Profiles,
    expander: Option<&GrpcExpander>,
    runtime: &Handle,
) -> Decision {
    let snapshot = windlass_core::prepare_with(input.cluster, input.config, profiles);
    let Some(expander) = expander else {
        return windlass_core::decide(input, snapshot);
    };
    let mut answers = Vec::new();
    loop {
        match windlass_core::decide_asking(input, snapshot.clone(), &answers) {
            Progress::Decided(decision) => return *decision,
            Progress::Asks(question) => answers.push(runtime.block_on(expander.ask(&question))),
        }
    }
}
