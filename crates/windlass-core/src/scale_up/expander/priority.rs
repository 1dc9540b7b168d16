//! `priority`: the options that a ConfigMap puts first. Source: `pkg/expander/priority`.

use std::collections::BTreeMap;

use regex::Regex;

use super::ExpansionOption;
use crate::{Event, EventObject, decide::Loop};

pub(super) fn best(
    context: &mut Loop<'_>,
    options: &[ExpansionOption],
    places: &[usize],
) -> Vec<usize> {
    let Some(config_map) = &context.cluster.priority_expander else {
        return places.to_vec();
    };
    let priorities = match config_map.as_deref().filter(|text| !text.is_empty()) {
        None => Err(
            "Wrong configmap for priority expander, doesn't contain priorities key. Ignoring \
             update."
                .to_owned(),
        ),
        Some(text) => parse(text).map_err(|error| {
            format!("Wrong configuration for priority expander: {error}. Ignoring update.")
        }),
    };
    let priorities = match priorities {
        Ok(priorities) => priorities,
        Err(message) => {
            warn(context, "PriorityConfigMapInvalid", message);
            return places.to_vec();
        }
    };

    // Priorities below -1 are never chosen: the Go autoscaler's search starts there.
    let mut highest = -1;
    let mut left = Vec::new();
    for place in places {
        let name = context.cluster.groups[options[*place].group].name.clone();
        let own = priorities
            .iter()
            .filter(|(_, patterns)| patterns.iter().any(|pattern| pattern.is_match(&name)))
            .map(|(priority, _)| *priority)
            .max();
        match own {
            None => warn(
                context,
                "PriorityConfigMapNotMatchedGroup",
                format!(
                    "Priority expander: node group {name} not found in priority expander \
                     configuration. The group won't be used."
                ),
            ),
            Some(priority) if priority > highest => {
                highest = priority;
                left = vec![*place];
            }
            Some(priority) if priority == highest => left.push(*place),
            Some(_) => {}
        }
    }
    if left.is_empty() {
        warn(
            context,
            "PriorityConfigMapNoGroupMatched",
            "Priority expander: no priorities info found for any of the expansion options. No \
             options filtered."
                .to_owned(),
        );
        return places.to_vec();
    }
    left
}

fn parse(text: &str) -> Result<BTreeMap<i64, Vec<Regex>>, String> {
    let lists: BTreeMap<i64, Vec<String>> = serde_saphyr::from_str(text)
        .map_err(|error| format!("Can't parse YAML with priorities in the configmap: {error}"))?;
    let mut priorities = BTreeMap::new();
    for (priority, patterns) in lists {
        let patterns = patterns
            .iter()
            .map(|pattern| {
                Regex::new(pattern)
                    .map_err(|error| format!("Can't compile regexp rule for priority {priority} and rule {pattern}: {error}"))
            })
            .collect::<Result<Vec<_>, _>>()?;
        priorities.insert(priority, patterns);
    }
    Ok(priorities)
}

fn warn(context: &mut Loop<'_>, reason: &'static str, message: String) {
    context.plan.events.push(Event::warning(
        reason,
        EventObject::PriorityExpander,
        message,
    ));
}
