//! What a group's next instance costs: asking AWS for it, and putting it together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use windlass_aws_client::Client;
use windlass_model::{Duration, MicroDollars};

use super::templates::{Answers, ask, keep};
use super::{Aws, RefreshReport};
use crate::instance_type::InstanceType;
use crate::launch::Launch;
use crate::memo::Memo;
use crate::price::Prices;
use crate::shortage::{Market, Pool, Sources};

/// How long a spot price and a list price are good for.
const SPOT: Duration = Duration::from_hours(1);
const LIST: Duration = Duration::from_hours(24);
/// Types whose spot prices are asked for in one call.
const TYPES_PER_CALL: usize = 50;
/// Answers that are renewed with one listing, at most.
const RENEWALS: usize = 1;

/// What AWS has said of prices.
#[derive(Debug, Default)]
pub(super) struct HeardPrices {
    /// By instance type.
    on_demand: Memo<f64>,
    /// By instance type: zone and price.
    spot: Memo<BTreeMap<String, f64>>,
}

/// A price, and where it is from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Price {
    pub(super) amount: MicroDollars,
    pub(super) source: &'static str,
}

impl Aws {
    pub(super) async fn ask_prices(&self, now: Timestamp, report: &mut RefreshReport) {
        let (list, spot) = {
            let mut state = self.state();
            if !state.answers.settings.ask_prices {
                return;
            }
            let pools: Vec<Pool> = state
                .groups
                .iter()
                .flat_map(|group| state.answers.pools(group).pools)
                .collect();
            let names: BTreeSet<String> = pools
                .iter()
                .map(|pool| pool.instance_type.clone())
                .collect();
            let spot: BTreeSet<String> = pools
                .into_iter()
                .filter(|pool| pool.market == Market::Spot)
                .map(|pool| pool.instance_type)
                .collect();
            let heard = &mut state.answers.heard_prices;
            (
                heard.on_demand.due(names, RENEWALS, now),
                heard.spot.due(spot, TYPES_PER_CALL, now),
            )
        };
        let client = &self.inner.client;
        let answers = ask(list, |name| {
            let name = name.to_owned();
            async move { client.pricing().on_demand(&name).await }
        })
        .await;
        {
            let heard = &mut self.state().answers.heard_prices;
            for (name, answer) in answers {
                keep(&mut heard.on_demand, name, answer, now, LIST, report);
            }
        }
        for names in spot.chunks(TYPES_PER_CALL) {
            self.ask_spot_prices(client, names, now, report).await;
        }
    }

    async fn ask_spot_prices(
        &self,
        client: &Client,
        names: &[String],
        now: Timestamp,
        report: &mut RefreshReport,
    ) {
        // History that begins now is the price that holds now.
        let answer = client.ec2().describe_spot_price_history(names, now).await;
        let heard = &mut self.state().answers.heard_prices.spot;
        match answer {
            Ok(prices) => {
                let mut by_type: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
                // Newest first: the first of a zone counts.
                for price in prices {
                    if let Ok(amount) = price.spot_price.parse::<f64>() {
                        by_type
                            .entry(price.instance_type)
                            .or_default()
                            .entry(price.availability_zone)
                            .or_insert(amount);
                    }
                }
                for name in names {
                    let zones = by_type.remove(name);
                    keep(heard, name.clone(), Ok(zones), now, SPOT, report);
                }
            }
            Err(error) => {
                let text = error.to_string();
                let pause = super::templates::pause_after(&error);
                for name in names {
                    heard.fail(name.clone(), text.clone(), now, pause);
                }
                report.template_errors.push(error);
            }
        }
    }
}

impl Answers {
    /// What an hour of the next instance costs: the first type's price on demand, the cheapest
    /// pool's spot price, or both in the policy's proportion.
    pub(super) fn price(
        &self,
        launch: &Launch,
        sources: &Sources,
        types: &[Arc<InstanceType>],
    ) -> Option<Price> {
        let is_spot = |pool: &&Pool| pool.market == Market::Spot;
        let spot = sources
            .pools
            .iter()
            .filter(is_spot)
            .filter_map(|pool| self.spot_price(pool))
            .min_by_key(|price| price.amount);
        let on_demand = types.first().and_then(|first| self.list_price(&first.name));
        let percent = match launch.spot_percent {
            Some(percent) => percent,
            None if sources.pools.iter().any(|pool| pool.market == Market::Spot) => 100,
            None => 0,
        };
        match (percent, on_demand, spot) {
            (0, price, _) | (_, price, None) | (100, _, price) | (_, None, price) => price,
            (percent, Some(on_demand), Some(spot)) => {
                let share = i64::from(percent);
                let amount = (on_demand.amount.0 * (100 - share) + spot.amount.0 * share) / 100;
                Some(Price {
                    amount: MicroDollars(amount),
                    source: "price on demand and spot price, as the policy mixes them",
                })
            }
        }
    }

    fn list_price(&self, instance_type: &str) -> Option<Price> {
        let of = |amount: Option<MicroDollars>, source| {
            Some(Price {
                amount: amount?,
                source,
            })
        };
        of(
            self.settings.prices.given(instance_type),
            "--aws-price-file",
        )
        .or_else(|| {
            let heard = self.heard_prices.on_demand.get(instance_type)?;
            of(Some(MicroDollars::from_dollars(*heard)), "AWS's price list")
        })
        .or_else(|| of(Prices::built_in(instance_type), "the built-in prices"))
    }

    fn spot_price(&self, pool: &Pool) -> Option<Price> {
        let given = self.settings.prices.spot(&pool.instance_type, &pool.zone);
        if let Some(amount) = given {
            return Some(Price {
                amount,
                source: "--aws-price-file",
            });
        }
        let heard = self.heard_prices.spot.get(&pool.instance_type)?;
        Some(Price {
            amount: MicroDollars::from_dollars(*heard.get(&pool.zone)?),
            source: "AWS's spot prices",
        })
    }
}
