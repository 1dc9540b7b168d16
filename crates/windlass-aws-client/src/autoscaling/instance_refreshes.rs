//! Instance refreshes: AWS itself replaces the instances of a group.

use serde::Deserialize;

use super::provision::{MixedInstances, with_template, write};
use super::{AutoScaling, Envelope, read};
use crate::error::CallError;
use crate::query::{filled, members};
use crate::retry::Repeat;

/// One instance refresh of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct InstanceRefresh {
    /// Its id.
    #[serde(rename = "InstanceRefreshId")]
    pub id: String,
    /// `Pending`, `InProgress`, `Successful`, `Failed`, `Cancelling` and more.
    pub status: String,
    /// Why it is what it is, in AWS's words.
    #[serde(default, deserialize_with = "filled")]
    pub status_reason: Option<String>,
    /// How much of it is done, in percent.
    #[serde(default)]
    pub percentage_complete: Option<u32>,
    /// Instances that are to be replaced still.
    #[serde(default)]
    pub instances_to_update: Option<u32>,
}

impl InstanceRefresh {
    /// Whether it still replaces instances, or waits to. What AWS may invent counts as over: nobody
    /// must wait for ever for a word.
    pub fn is_under_way(&self) -> bool {
        matches!(
            self.status.as_str(),
            "Pending" | "InProgress" | "Baking" | "Cancelling" | "RollbackInProgress"
        )
    }
}

/// What a refresh is to bring about, and how many instances are to be healthy meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshSpecification {
    /// Name and version of the launch template.
    pub launch_template: (String, String),
    /// Several types, instead of the template's one.
    pub mixed_instances: Option<MixedInstances>,
    /// Least share of healthy instances, in percent of the desired capacity.
    pub min_healthy_percentage: u32,
    /// Greatest share, while new ones are there before old ones go.
    pub max_healthy_percentage: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RefreshesPage {
    #[serde(default, deserialize_with = "members")]
    instance_refreshes: Vec<InstanceRefresh>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Started {
    instance_refresh_id: String,
}

impl AutoScaling<'_> {
    /// Has AWS replace the instances of a group that are not as the specification has it. It waits for
    /// those that are protected from scale-in, and where it fails it takes the group back to what that
    /// was before. Gives the refresh's id; none where another is under way.
    ///
    /// IAM: `autoscaling:StartInstanceRefresh`, and by the template what creating a group needs.
    pub async fn start_instance_refresh(
        &self,
        group: &str,
        refresh: &RefreshSpecification,
    ) -> Result<Option<String>, CallError> {
        let RefreshSpecification {
            launch_template,
            mixed_instances,
            min_healthy_percentage,
            max_healthy_percentage,
        } = refresh;
        let query = write("StartInstanceRefresh", group, Repeat::OnlyIfRefused)
            .with("AutoScalingGroupName", group)
            .with("Strategy", "Rolling")
            .with("Preferences.MinHealthyPercentage", min_healthy_percentage)
            .with("Preferences.MaxHealthyPercentage", max_healthy_percentage)
            .with("Preferences.SkipMatching", true)
            .with("Preferences.AutoRollback", true)
            .with("Preferences.ScaleInProtectedInstances", "Wait");
        let query = with_template(
            query,
            "DesiredConfiguration.",
            launch_template,
            mixed_instances.as_ref(),
        );
        let started = self.client.observed("StartInstanceRefresh", async {
            let answer: Envelope<Started> = query.send(self.client).await?;
            Ok(answer.result.instance_refresh_id)
        });
        match started.await {
            Ok(id) => Ok(Some(id)),
            Err(error) if error.code() == Some("InstanceRefreshInProgress") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A group's newest instance refreshes, the newest first.
    ///
    /// IAM: `autoscaling:DescribeInstanceRefreshes`.
    pub async fn describe_instance_refreshes(
        &self,
        group: &str,
    ) -> Result<Vec<InstanceRefresh>, CallError> {
        self.client
            .observed("DescribeInstanceRefreshes", async {
                let page: Envelope<RefreshesPage> = read("DescribeInstanceRefreshes")
                    .about(group)
                    .with("AutoScalingGroupName", group)
                    .send(self.client)
                    .await?;
                Ok(page.result.instance_refreshes)
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_is_read_with_its_progress() {
        let xml = "<DescribeInstanceRefreshesResponse><DescribeInstanceRefreshesResult>\
            <InstanceRefreshes><member><InstanceRefreshId>r-2</InstanceRefreshId>\
            <AutoScalingGroupName>web</AutoScalingGroupName><Status>InProgress</Status>\
            <StatusReason>Waiting for instances to warm up.</StatusReason>\
            <PercentageComplete>50</PercentageComplete><InstancesToUpdate>3</InstancesToUpdate>\
            <Preferences><MinHealthyPercentage>90</MinHealthyPercentage></Preferences></member>\
            <member><InstanceRefreshId>r-1</InstanceRefreshId><Status>Cancelled</Status></member>\
            </InstanceRefreshes></DescribeInstanceRefreshesResult>\
            </DescribeInstanceRefreshesResponse>";
        let page: Envelope<RefreshesPage> = quick_xml::de::from_str(xml).unwrap();
        let [newest, older] = &page.result.instance_refreshes[..] else {
            panic!("{:?}", page.result.instance_refreshes);
        };
        assert_eq!(newest.percentage_complete, Some(50));
        assert_eq!(newest.instances_to_update, Some(3));
        assert!(newest.status_reason.as_deref().unwrap().contains("warm up"));
        assert!(newest.is_under_way() && !older.is_under_way());
        assert_eq!(older.status_reason, None);
    }
}
