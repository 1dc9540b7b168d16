//! Who gets an image that is built: copies in other regions, other accounts, the parameter that names
//! the newest; and from when on it is deprecated.

use std::time::Duration;

use jiff::Timestamp;
use windlass_aws_client::ssm::PutParameter;
use windlass_aws_client::{CallError, Client, Options, Secret};

use super::build::{
    BOOT_TEST_TAG, BUILD_TAG, BuildError, Built, PASSED, existing, finish, image_tags,
};
use super::recipe::Recipe;
use crate::cluster_config::ClusterConfig;

/// EC2 takes no time that is past, and whole minutes alone: the soonest that it takes for certain.
const SOONEST: Duration = Duration::from_mins(2);

/// Copies, shares, deprecates and announces an image; what is done already is left alone. `attempt` is
/// new for every run: within one, a copy whose answer is lost is not made twice.
///
/// An image is deprecated by its age, so that a later run comes to the same time.
///
/// # Errors
///
/// When a call fails; doing it again goes on.
pub async fn publish(
    client: &Client,
    config: &ClusterConfig,
    recipe: &Recipe,
    built: &mut Built,
    attempt: &str,
    now: Timestamp,
    poll: Duration,
) -> Result<(), BuildError> {
    let publish = &recipe.ami.publish;
    share(client, &built.image, &publish.accounts).await?;
    let deprecation = match publish.deprecate_after {
        Some(after) => Some(Deprecation::of(client, &built.image, after.duration(), now).await?),
        None => None,
    };
    for copy in &publish.copies {
        let region = &copy.region;
        let options = Options {
            region: Some(region.clone()),
            ..Options::default()
        };
        let there = Client::connect(options)
            .await
            .map_err(|source| BuildError::Region {
                region: region.clone(),
                source,
            })?;
        let id = if let Some(found) = existing(&there, &built.name).await? {
            found.id
        } else {
            let (from, key) = (&config.spec.region, copy.kms_key.as_deref());
            let ec2 = there.ec2();
            let token = format!("{attempt}-{region}");
            ec2.copy_image(&built.image, from, &built.name, key, &token)
                .await?
        };
        let mut tags = image_tags(config, recipe);
        tags.insert(BUILD_TAG.to_owned(), built.image.clone());
        if publish.boot_test {
            // It is the same disk, and has passed.
            tags.insert(BOOT_TEST_TAG.to_owned(), PASSED.to_owned());
        }
        there.ec2().create_tags(&id, &tags).await?;
        finish(&there, &id, &tags, poll).await?;
        share(&there, &id, &publish.accounts).await?;
        if let Some(deprecation) = &deprecation {
            deprecation.put_on(&there, &id).await?;
        }
        built.copies.insert(region.clone(), id);
    }
    if let Some(deprecation) = &deprecation {
        built.deprecated_from = Some(deprecation.put_on(client, &built.image).await?);
    }
    if let Some(name) = &publish.parameter {
        let value = Secret::new(&built.image);
        let parameter = PutParameter {
            name,
            value: &value,
            description: "The newest machine image of the nodes",
            encryption: None,
            overwrite: true,
        };
        client.ssm().put_parameter(&parameter).await?;
    }
    Ok(())
}

async fn share(client: &Client, image: &str, accounts: &[String]) -> Result<(), CallError> {
    if accounts.is_empty() {
        return Ok(());
    }
    client.ec2().share_image(image, accounts).await
}

/// From when on an image and its copies, which are as old, are to be deprecated.
struct Deprecation {
    /// By the image's age; perhaps past already.
    due: Timestamp,
    now: Timestamp,
}

impl Deprecation {
    async fn of(
        client: &Client,
        image: &str,
        after: Duration,
        now: Timestamp,
    ) -> Result<Self, CallError> {
        let state = client.ec2().image_state(image).await?.unwrap_or_default();
        // EC2 always says when; an image of an unknown age is as old as its publication.
        let created: Timestamp = state.creation_date.parse().unwrap_or(now);
        let due = created.saturating_add(after).unwrap_or(Timestamp::MAX);
        Ok(Self { due, now })
    }

    /// Has EC2 deprecate an image unless it does already; gives from when on.
    async fn put_on(&self, client: &Client, image: &str) -> Result<Timestamp, CallError> {
        let ec2 = client.ec2();
        let state = ec2.image_state(image).await?.unwrap_or_default();
        let set = state.deprecation_time.and_then(|it| it.parse().ok());
        match self.missing(set) {
            Some(at) => {
                ec2.deprecate_image(image, &format!("{at:.0}")).await?;
                Ok(at)
            }
            None => Ok(set.unwrap_or(self.due)),
        }
    }

    /// The time that is to be set where `set` is; none if that is right.
    fn missing(&self, set: Option<Timestamp>) -> Option<Timestamp> {
        let soonest = self.now.saturating_add(SOONEST).unwrap_or(Timestamp::MAX);
        let is_due = self.due < soonest;
        let is_right = set.is_some_and(|set| {
            let both_past = is_due && set < soonest;
            both_past || whole_minute(set) == whole_minute(self.due)
        });
        (!is_right).then(|| whole_minute(self.due.max(soonest)))
    }
}

/// A time without its seconds.
fn whole_minute(time: Timestamp) -> Timestamp {
    let seconds = time.as_second();
    Timestamp::from_second(seconds - seconds.rem_euclid(60)).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(due: &str, set: Option<&str>, missing: Option<&str>) {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let deprecation = Deprecation {
            due: time(due),
            now: time("2026-06-01T12:00:30Z"),
        };
        assert_eq!(deprecation.missing(set.map(time)), missing.map(time));
    }

    #[test]
    fn an_image_is_deprecated_by_its_age_to_the_minute() {
        let due = "2026-09-01T08:15:59.123Z";
        check(due, None, Some("2026-09-01T08:15:00Z"));
        check(due, Some("2026-09-01T08:15:00Z"), None);
        // The file said something else before.
        check(
            due,
            Some("2026-12-01T08:15:00Z"),
            Some("2026-09-01T08:15:00Z"),
        );
    }

    #[test]
    fn one_that_is_too_old_already_is_deprecated_as_soon_as_can_be_and_once() {
        let due = "2026-05-01T08:15:59Z";
        check(due, None, Some("2026-06-01T12:02:00Z"));
        check(
            due,
            Some("2027-01-01T00:00:00Z"),
            Some("2026-06-01T12:02:00Z"),
        );
        check(due, Some("2026-06-01T12:02:00Z"), None);
        check(due, Some("2026-05-20T00:00:00Z"), None);
    }
}
