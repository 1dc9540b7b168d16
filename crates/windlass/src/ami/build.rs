//! `windlass ami build`: an image through EC2's API.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use rand::RngExt as _;
use tokio::sync::Mutex;
use windlass_aws_client::ec2::ImageState;
use windlass_aws_client::{Client, Options};
use windlass_provision::ami::Recipe;
use windlass_provision::ami::build::{self, Build, BuildError, Built};
use windlass_provision::ami::clean_up::{Outcome, clean_up};
use windlass_provision::ami::publish::publish;
use windlass_provision::ami::report;
use windlass_provision::ami::user_data::{boot_test_user_data, user_data};
use windlass_provision::cluster_config::{ClusterConfig, GoDuration};
use windlass_provision::iam::Actor;
use windlass_provision::provision::advice;
use windlass_provision::userdata::{self, MAX_LENGTH};

use super::role;
use crate::cluster_file::ConfigArgs;
use crate::interrupts::Interrupts;
use crate::output::{self, Format};
use crate::runtime;
use crate::userdata::gzipped;

/// Exit code after an interrupt, when all has been cleaned up.
const INTERRUPTED: u8 = 4;
/// Exit code when something is left that could not be removed.
pub(super) const LEFT: u8 = 5;

#[derive(Args)]
pub(super) struct BuildArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Build it even if there is an image of this recipe and source already.
    #[arg(long)]
    force: bool,
    /// How often AWS is asked how far it is.
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    poll: GoDuration,
    /// What becomes of the builder when there is no image in the end. After an interrupt it is
    /// terminated in any case.
    #[arg(long, value_enum, default_value_t = OnFailure::Terminate)]
    on_failure: OnFailure,
    /// How it is printed.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// What becomes of the builder of a build that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnFailure {
    /// It is terminated, and all that belongs to it goes.
    Terminate,
    /// It stays with all that belongs to it, to be looked at, until `ami gc` removes it.
    Keep,
}

pub(super) fn run(args: &BuildArgs) -> anyhow::Result<ExitCode> {
    runtime::block_on(Box::pin(build(args)))?
}

async fn build(args: &BuildArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.read()?;
    let recipe = Recipe::of(&config)?;
    let options = Options {
        region: Some(config.spec.region.clone()),
        ..Options::default()
    };
    let client = Client::connect(options).await?;
    let poll = args.poll.0.max(Duration::from_millis(100));
    let source = build::source(&client, &recipe).await.map_err(advised)?;
    let id = format!("{}-{:08x}", recipe.hash(), rand::rng().random::<u32>());
    let mut name = format!("{}-{}", recipe.image_name(), source_suffix(&source.id));
    let existing = build::existing(&client, &name).await;
    let existing = existing.map_err(|error| advised(error.into()))?;
    let work = match existing {
        Some(image) if !args.force => {
            output::talk(&format!("{name} is there already (--force builds another)"));
            let taken_up = build::take_up(&client, &image, poll).await;
            Work::on(taken_up.map_err(advised)?, &recipe)
        }
        there => {
            if there.is_some() {
                // No two images of an account have the same name.
                name = format!("{name}-{}", &id[id.len() - 8..]);
            }
            Work::Build
        }
    };
    // Until there is something to clean up or to finish, an interrupt ends the program by itself.
    let interrupts;
    let (built, code) = if let Work::Publish(image) = work {
        interrupts = Interrupts::listen()?;
        (Some(was_there(name, image)), ExitCode::SUCCESS)
    } else {
        role::ensure(&client, &config).await?;
        let region = &config.spec.region;
        let say = |line: &str| output::talk(line);
        let job = Build {
            client: &client,
            config: &config,
            recipe: &recipe,
            id: &id,
            source: &source,
            user_data: &encoded(&user_data(&recipe, region, &id, &source.id))?,
            boot_test_user_data: &encoded(&boot_test_user_data(region, &report::boot_test(&id)))?,
            begun: Timestamp::now(),
            poll,
            say: &say,
            creating: Mutex::default(),
        };
        interrupts = Interrupts::listen()?;
        supervised(&job, work, &name, args.on_failure, &interrupts).await?
    };
    let Some(mut built) = built else {
        return Ok(code);
    };
    let seen = interrupts.count();
    tokio::select! {
        result = published(&client, &config, &recipe, &mut built, &id, poll) => result?,
        () = interrupts.reach(seen + 1) => {
            output::talk(&format!(
                "interrupted: {} is built and not all of spec.ami.publish is done: run it again",
                built.image
            ));
            return Ok(ExitCode::from(INTERRUPTED));
        }
    }
    match args.output.encoding() {
        None => output::data(&as_text(&config, &built))?,
        Some(encoding) => output::document(encoding, &built)?,
    }
    Ok(code)
}

/// What there is to do before an image is published.
enum Work {
    /// It is to be built.
    Build,
    /// It is there, and has not passed the boot test that is asked for.
    Test(ImageState),
    /// Nothing.
    Publish(ImageState),
}

impl Work {
    /// What there is to do on an image that is there.
    fn on(image: ImageState, recipe: &Recipe) -> Self {
        let passed = image.tags.get(build::BOOT_TEST_TAG);
        let has_passed = passed.is_some_and(|it| it == build::PASSED);
        if has_passed || !recipe.ami.publish.boot_test {
            Self::Publish(image)
        } else {
            Self::Test(image)
        }
    }

    async fn done(self, job: &Build<'_>, name: &str) -> Result<Built, BuildError> {
        match self {
            Self::Build => job.run(name).await,
            Self::Test(image) => {
                job.test(&image).await?;
                Ok(was_there(name.to_owned(), image))
            }
            Self::Publish(image) => Ok(was_there(name.to_owned(), image)),
        }
    }
}

fn was_there(name: String, image: ImageState) -> Built {
    Built {
        name,
        image: image.id,
        copies: BTreeMap::new(),
        deprecated_from: None,
        was_there: true,
    }
}

/// User data as the API of EC2 takes it.
fn encoded(script: &str) -> anyhow::Result<String> {
    let compressed = gzipped(script);
    if MAX_LENGTH < compressed.len() {
        bail!(
            "the builder's user data has {} bytes, and EC2 takes {MAX_LENGTH}: leave repositories' \
             keys out by naming their URL and fingerprint",
            compressed.len()
        );
    }
    Ok(userdata::as_base64(&compressed))
}

/// Images of one recipe differ by what they started from.
fn source_suffix(id: &str) -> &str {
    let bare = id.trim_start_matches("ami-");
    &bare[bare.len().saturating_sub(8)..]
}

/// Builds or tests, and cleans up whatever comes of it, also after an interrupt, unless a failure is to be
/// looked at: gives the image, if there is one, and how the program is to end.
async fn supervised(
    job: &Build<'_>,
    work: Work,
    name: &str,
    on_failure: OnFailure,
    interrupts: &Interrupts,
) -> anyhow::Result<(Option<Built>, ExitCode)> {
    let doing = match work {
        Work::Build => "building",
        Work::Test(_) | Work::Publish(_) => "testing",
    };
    output::talk(&format!("{doing} {name} (build {})", job.id));
    let interrupted = async {
        interrupts.reach(1).await;
        output::talk("interrupted: cleaning up (a second interrupt leaves it)");
        tokio::select! {
            () = job.rest() => {}
            () = interrupts.reach(2) => {}
        }
    };
    let result = tokio::select! {
        result = work.done(job, name) => Some(result),
        () = interrupted => None,
    };
    let result = match result {
        Some(Err(error)) if on_failure == OnFailure::Keep => {
            output::talk(&format!(
                "kept is what has the tag {}={}; `windlass ami gc --build {}` removes it",
                build::BUILD_TAG,
                job.id,
                job.id
            ));
            return Err(advised(error));
        }
        result => result,
    };
    let outcome = match &result {
        Some(Ok(_)) => Outcome::Keep,
        _ => Outcome::Discard,
    };
    let given_up = async {
        if result.is_some() {
            interrupts.reach(1).await;
            output::talk("still cleaning up (another interrupt leaves it)");
        }
        interrupts.reach(2).await;
    };
    let left = tokio::select! {
        left = clean_up(job.client, job.id, outcome, job.poll) => left,
        () = given_up => vec!["all of it: interrupted".to_owned()],
    };
    for line in &left {
        output::talk(&format!(
            "left behind, with the tag {}={}: {line}; `windlass ami gc --build {}` removes it",
            build::BUILD_TAG,
            job.id,
            job.id
        ));
    }
    let left_code = (!left.is_empty()).then_some(ExitCode::from(LEFT));
    match result {
        Some(Ok(built)) => Ok((Some(built), left_code.unwrap_or(ExitCode::SUCCESS))),
        Some(Err(error)) if left.is_empty() => Err(advised(error)),
        Some(Err(error)) => {
            output::error(&advised(error));
            Ok((None, ExitCode::from(LEFT)))
        }
        None => Ok((None, left_code.unwrap_or(ExitCode::from(INTERRUPTED)))),
    }
}

async fn published(
    client: &Client,
    config: &ClusterConfig,
    recipe: &Recipe,
    built: &mut Built,
    attempt: &str,
    poll: Duration,
) -> anyhow::Result<()> {
    let image = built.image.clone();
    let now = Timestamp::now();
    publish(client, config, recipe, built, attempt, now, poll)
        .await
        .map_err(advised)
        .with_context(|| {
            format!("{image} is built and not all of spec.ami.publish is done: run it again")
        })
}

fn as_text(config: &ClusterConfig, built: &Built) -> String {
    let here = (&config.spec.region, &built.image);
    let deprecated = match built.deprecated_from {
        Some(from) => format!("  deprecated from {from:.0}"),
        None => String::new(),
    };
    let lines: Vec<String> = [here]
        .into_iter()
        .chain(&built.copies)
        .map(|(region, image)| format!("{image}  {region}  {}{deprecated}", built.name))
        .collect();
    lines.join("\n") + "\n"
}

/// An error with what to do about it.
fn advised(error: BuildError) -> anyhow::Error {
    let call = error.call();
    let hint = call.map(|call| advice::advice(call, Actor::AmiBuilder));
    let outcome = match &error {
        BuildError::BootTest { .. } => "the image is not published",
        _ => "no image was built",
    };
    let error = anyhow::Error::new(error);
    match hint {
        Some(hint) => error.context(format!("AWS refused or did not answer; hint: {hint}")),
        None => error.context(outcome),
    }
}
