//! `windlass token`: the credential that nodes join with.

mod connection;
mod live;
mod rotate;
mod status;

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use rand::rngs::SysRng;
use rand_chacha::ChaCha20Rng;
use serde_json::{Value, json};
use windlass_provision::cluster_info;
use windlass_provision::pin::CaPin;
use windlass_provision::token::{
    BootstrapToken, DEFAULT_NODE_GROUP, GroupName, TokenId, TokenRecord, TokenRequest, Usage,
};

use crate::output::{self, Format};
use connection::ParameterArgs;
pub(crate) use connection::{Cluster, ClusterArgs, install_tls};
pub(crate) use rotate::Rotation;

/// Arguments of `windlass token`.
#[derive(Args)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Subcommand)]
enum TokenCommand {
    /// Make a bootstrap token and print it.
    Create(CreateArgs),
    /// List the cluster's bootstrap tokens, without their secrets.
    List(ListArgs),
    /// Tell how long the published token is still good.
    Status(status::StatusArgs),
    /// Delete bootstrap tokens: they are of no use at once.
    Delete(DeleteArgs),
    /// Renew the published token when it is due, once or as a daemon.
    Rotate(rotate::RotateArgs),
    /// Delete the plain parameter of the 2019 scheme, once no node reads it any more.
    RetireCompat(RetireArgs),
}

#[derive(Args)]
struct CreateArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Life of the token. There is no token without an end.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    ttl: Duration,
    /// What it may be used for.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [UsageName::Signing, UsageName::Authentication])]
    usages: Vec<UsageName>,
    /// Groups of who logs in with it, besides `system:bootstrappers`.
    #[arg(long, value_delimiter = ',', default_values_t = [default_group()])]
    groups: Vec<GroupName>,
    /// What it is for.
    #[arg(long, default_value = "")]
    description: String,
    /// Take the token from this file instead of drawing one; `-` is standard input.
    ///
    /// Not from the command line, which every user of the machine can read.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print the `kubeadm join` command instead, with the CA pinned.
    #[arg(long)]
    print_join_command: bool,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Args)]
struct ListArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Also tell which of them is published for the cluster of this name, in
    /// `/windlass/<cluster>/join`.
    #[arg(long = "cluster", value_name = "NAME")]
    published_for: Option<String>,
    /// How to print them.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Args)]
struct DeleteArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Ids, or whole tokens.
    #[arg(required = true, value_name = "ID")]
    tokens: Vec<String>,
}

#[derive(Args)]
struct RetireArgs {
    #[command(flatten)]
    parameter: ParameterArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum UsageName {
    Signing,
    Authentication,
}

impl From<UsageName> for Usage {
    fn from(name: UsageName) -> Self {
        match name {
            UsageName::Signing => Self::Signing,
            UsageName::Authentication => Self::Authentication,
        }
    }
}

fn default_group() -> GroupName {
    DEFAULT_NODE_GROUP
        .parse()
        .expect("kubeadm's own group is a valid one")
}

/// Reads a Go duration above 0.
pub(crate) fn duration(text: &str) -> anyhow::Result<Duration> {
    let duration = windlass_model::parse_go_duration(text)?;
    let duration = Duration::try_from(duration).ok().filter(|it| !it.is_zero());
    duration.context("must be above 0")
}

/// Reads a Go duration that may be 0.
fn duration_or_zero(text: &str) -> anyhow::Result<Duration> {
    let duration = windlass_model::parse_go_duration(text)?;
    Duration::try_from(duration).context("must not be below 0")
}

/// A generator that nobody can foresee.
pub(crate) fn random() -> anyhow::Result<ChaCha20Rng> {
    use rand::SeedableRng as _;
    ChaCha20Rng::try_from_rng(&mut SysRng).context("read the system's random numbers")
}

pub(crate) fn run(args: &TokenArgs) -> anyhow::Result<ExitCode> {
    crate::logging::start();
    connection::install_tls();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        match &args.command {
            TokenCommand::Create(args) => create(args).await,
            TokenCommand::List(args) => list(args).await,
            TokenCommand::Status(args) => return status::status(args).await,
            TokenCommand::Delete(args) => delete(args).await,
            TokenCommand::Rotate(args) => return Box::pin(rotate::rotate(args)).await,
            TokenCommand::RetireCompat(args) => retire_compat(args).await,
        }
        .map(|()| ExitCode::SUCCESS)
    })
}

/// Ends the work at SIGTERM or SIGINT. Whatever is half done then, the next one finishes.
pub(crate) async fn until_told_to_end(work: impl Future<Output = ()>) -> anyhow::Result<ExitCode> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    tokio::select! {
        () = work => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(args: &CreateArgs) -> anyhow::Result<()> {
    let cluster = Cluster::connect(&args.cluster).await?;
    let token = match &args.token_file {
        Some(path) => read_token(path)?,
        None => BootstrapToken::generate(&mut random()?),
    };
    let expires = cluster
        .api()
        .server_time()
        .await
        .context("read the API server's clock")?
        + args.ttl;
    let mut usages: Vec<Usage> = args.usages.iter().copied().map(Usage::from).collect();
    usages.sort_unstable();
    usages.dedup();
    let request = TokenRequest {
        token: &token,
        expires,
        usages: &usages,
        groups: &args.groups,
        description: &args.description,
        managed: false,
    };
    cluster.create_token(&request).await?;
    let whole = token.expose();
    if args.print_join_command {
        let info = cluster.cluster_info().await?;
        let pins = cluster.trusted_pins(&info)?;
        let endpoint = cluster_info::endpoint_of(&info.server)
            .with_context(|| format!("`{}` of cluster-info is no https URL", info.server))?;
        return output::data(&join_command(&endpoint, whole.expose(), &pins));
    }
    let Some(encoding) = args.output.encoding() else {
        return output::data(&format!("{}\n", whole.expose()));
    };
    let document = json!({
        "token": whole.expose(),
        "expires": expires.to_string(),
        "usages": usages.iter().map(|usage| usage.name()).collect::<Vec<_>>(),
        "groups": args.groups.iter().map(GroupName::as_str).collect::<Vec<_>>(),
        "description": args.description,
    });
    output::document(encoding, &document)
}

fn join_command(endpoint: &str, token: &str, pins: &[CaPin]) -> String {
    let mut command = format!("kubeadm join {endpoint} --token {token}");
    for pin in pins {
        let _ = write!(command, " --discovery-token-ca-cert-hash {pin}");
    }
    command + "\n"
}

fn read_token(path: &PathBuf) -> anyhow::Result<BootstrapToken> {
    let text = if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("read the token from standard input")?;
        text
    } else {
        std::fs::read_to_string(path)
            .with_context(|| format!("read the token from `{}`", path.display()))?
    };
    Ok(text.trim_end_matches(['\r', '\n']).parse()?)
}

async fn list(args: &ListArgs) -> anyhow::Result<()> {
    let cluster = Cluster::connect(&args.cluster).await?;
    let now = cluster
        .api()
        .server_time()
        .await
        .context("read the API server's clock")?;
    let mut tokens = cluster.tokens(None).await?;
    tokens.sort_by(|a, b| (a.expires, a.token.id()).cmp(&(b.expires, b.token.id())));
    let published = match &args.published_for {
        None => Published::NotAsked,
        Some(cluster) => Published::Known(published_token(cluster).await?),
    };
    let Some(encoding) = args.output.encoding() else {
        let rows: Vec<[String; 7]> = tokens
            .iter()
            .map(|token| row(token, now, &published))
            .collect();
        return output::data(&output::table(&HEADINGS.map(str::to_owned), &rows));
    };
    let tokens: Vec<Value> = tokens
        .iter()
        .map(|token| as_json(token, &published))
        .collect();
    output::document(encoding, &json!({ "tokens": tokens }))
}

/// Which token is published.
enum Published {
    /// Nobody has asked.
    NotAsked,
    /// This one, or none.
    Known(Option<TokenId>),
}

impl Published {
    fn is(&self, id: &TokenId) -> Option<bool> {
        match self {
            Self::NotAsked => None,
            Self::Known(published) => Some(published.as_ref() == Some(id)),
        }
    }
}

async fn published_token(cluster: &str) -> anyhow::Result<Option<TokenId>> {
    let args = ParameterArgs::of(cluster, None);
    let parameter = args.name()?;
    let client = connection::aws(&args).await?;
    let read = live::read(&client, &parameter).await?;
    let document = read
        .transpose()
        .with_context(|| format!("read parameter `{parameter}`"))?;
    Ok(document.map(|told| told.token))
}

const HEADINGS: [&str; 7] = [
    "ID",
    "TTL",
    "EXPIRES",
    "USAGES",
    "MADE BY",
    "PUBLISHED",
    "GROUPS",
];

fn row(token: &TokenRecord, now: jiff::Timestamp, published: &Published) -> [String; 7] {
    let (left, expires) = match token.expires {
        None => ("forever".to_owned(), "never".to_owned()),
        Some(expires) if expires <= now => ("expired".to_owned(), expires.to_string()),
        Some(expires) => {
            let left = expires.duration_since(now).as_secs();
            let left = Duration::from_secs(u64::try_from(left).unwrap_or_default());
            (rounded(left), expires.to_string())
        }
    };
    let usages: Vec<&str> = token.usages.iter().map(|usage| usage.name()).collect();
    let made_by = match &token.made_by {
        _ if token.managed => "rotator",
        Some(manager) => manager,
        None => "",
    };
    [
        token.token.id().to_string(),
        left,
        expires,
        usages.join(","),
        made_by.to_owned(),
        match published.is(token.token.id()) {
            None => "-",
            Some(true) => "yes",
            Some(false) => "no",
        }
        .to_owned(),
        token.groups.join(","),
    ]
}

fn as_json(token: &TokenRecord, published: &Published) -> Value {
    json!({
        "id": token.token.id().as_str(),
        "created": token.created.to_string(),
        "expires": token.expires.map(|expires| expires.to_string()),
        "usages": token.usages.iter().map(|usage| usage.name()).collect::<Vec<_>>(),
        "groups": token.groups,
        "description": token.description,
        "managed": token.managed,
        "madeBy": token.made_by,
        "published": published.is(token.token.id()),
    })
}

/// To the second, as Go writes it.
fn rounded(duration: Duration) -> String {
    let whole = windlass_model::Duration::try_from(Duration::from_secs(duration.as_secs()));
    whole.map_or_else(|_| String::new(), windlass_model::format_go_duration)
}

async fn delete(args: &DeleteArgs) -> anyhow::Result<()> {
    let mut ids: Vec<TokenId> = Vec::new();
    for text in &args.tokens {
        let id = match text.parse::<BootstrapToken>() {
            Ok(token) => token.id().clone(),
            Err(_) => text.parse().map_err(|_| {
                // The text is not repeated: it may be a token with a typing error.
                anyhow::anyhow!("an argument is neither the id of a token nor a token")
            })?,
        };
        ids.push(id);
    }
    let cluster = Cluster::connect(&args.cluster).await?;
    let mut missing = Vec::new();
    for id in &ids {
        if cluster.delete_token(id, None).await? {
            output::talk(&format!("deleted bootstrap token {id}"));
        } else {
            missing.push(id.to_string());
        }
    }
    if !missing.is_empty() {
        bail!("there was no bootstrap token {}", missing.join(", "));
    }
    Ok(())
}

async fn retire_compat(args: &RetireArgs) -> anyhow::Result<()> {
    let client = connection::aws(&args.parameter).await?;
    let name = &args.parameter.compat_parameter;
    if client.ssm().delete_parameter(name).await? {
        output::talk(&format!("deleted parameter `{name}`"));
    } else {
        output::talk(&format!("there is no parameter `{name}`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_command_pins_every_authority() {
        let pin: CaPin = format!("sha256:{}", "1".repeat(64)).parse().unwrap();
        assert_eq!(
            join_command("api:443", "abcdef.0123456789abcdef", &[pin]),
            format!(
                "kubeadm join api:443 --token abcdef.0123456789abcdef \
                 --discovery-token-ca-cert-hash {pin}\n"
            )
        );
    }

    #[test]
    fn a_token_without_an_end_cannot_be_asked_for() {
        assert!(duration("0").is_err());
        assert!(duration("-1h").is_err());
        assert_eq!(duration("90m").unwrap(), Duration::from_mins(90));
    }
}
