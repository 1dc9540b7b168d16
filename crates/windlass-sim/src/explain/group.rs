use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_model::{Pod, SmolStr};
use windlass_scheduler::Snapshot;

use super::pod::{chain, obstacles};
use super::{Change, ExplainError, Explanation, Link, View};

pub(super) fn explain(
    view: &View<'_>,
    mut snapshot: Snapshot,
    name: &SmolStr,
) -> Result<Explanation, ExplainError> {
    let group = view
        .cluster
        .groups
        .iter()
        .find(|group| group.name == *name)
        .ok_or_else(|| ExplainError::NotFound {
            kind: "group",
            name: name.to_string(),
        })?;
    let answer = |verdict, summary| Explanation::new("Group", name.to_string(), verdict, summary);
    let resizes = &view.plan.scale_up.resizes;
    if let Some(resize) = resizes.iter().find(|resize| resize.group == *name) {
        let summary = format!("it grows from {} to {} nodes", resize.from, resize.to);
        return Ok(answer("Grows", summary));
    }
    let pods = &view.plan.pods;
    let wanting: Vec<&Arc<Pod>> = view
        .cluster
        .pods
        .iter()
        .filter(|pod| {
            let name = pod.full_name();
            pods.waiting.contains(&name)
                || pods.triggered_scale_up.contains(&name)
                || pods.unschedulable.iter().any(|(other, _)| *other == name)
        })
        .collect();
    if wanting.is_empty() {
        let summary = "no pod waits for a node".to_owned();
        return Ok(answer("NotNeeded", summary));
    }
    let own_obstacles = obstacles(view, group);
    if !own_obstacles.is_empty() {
        let is_full = group.target_size >= group.max_size;
        let change = Change {
            what: format!("NodeGroup/{name}.spec.maxSize"),
            from: group.max_size.to_string(),
            to: (group.target_size + 1).to_string(),
        };
        let (verdict, summary) = if is_full {
            (
                "AtMaximumSize",
                format!("it has {} of {} nodes", group.target_size, group.max_size),
            )
        } else {
            ("Skipped", own_obstacles[0].have.clone())
        };
        let does_help = is_full && {
            let raised = view.with_group(name, |group| group.max_size = group.target_size + 1);
            let plan = view.plan_of(&raised, view.config);
            let mut skipped = plan.scale_up.skipped_groups.iter();
            !skipped.any(|(skipped, _)| skipped == name)
        };
        return Ok(Explanation {
            chain: own_obstacles,
            change: if does_help { vec![change] } else { Vec::new() },
            ..answer(verdict, summary)
        });
    }
    let mut failures: BTreeMap<SmolStr, (usize, Link)> = BTreeMap::new();
    let mut fitting = 0_usize;
    for pod in &wanting {
        let links = chain(view, &mut snapshot, pod);
        match links.into_iter().find(|link| link.group == *name) {
            None => fitting += 1,
            Some(link) => {
                failures
                    .entry(link.check.clone())
                    .and_modify(|(count, _)| *count += 1)
                    .or_insert((1, link));
            }
        }
    }
    if fitting > 0 {
        let chosen: Vec<&str> = resizes.iter().map(|resize| resize.group.as_str()).collect();
        let summary = if chosen.is_empty() {
            format!("{fitting} pending pods fit it, and none is helped in this loop")
        } else {
            format!(
                "{fitting} pending pods fit it, but the expander chose {}",
                chosen.join(", ")
            )
        };
        return Ok(answer("NotChosen", summary));
    }
    let summary = format!(
        "none of {} pending pods fits a new node of it",
        wanting.len()
    );
    Ok(Explanation {
        chain: failures.into_values().map(|(_, link)| link).collect(),
        ..answer("NoPodFits", summary)
    })
}
