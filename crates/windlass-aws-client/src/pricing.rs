//! The price list: what instances cost on demand.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::call::Client;
use crate::endpoint::Service;
use crate::error::CallError;
use crate::json::{self, Manner};

/// The service's calls.
#[derive(Clone, Copy, Debug)]
pub struct Pricing<'a> {
    client: &'a Client,
}

impl Client {
    /// The price list.
    pub fn pricing(&self) -> Pricing<'_> {
        Pricing { client: self }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GetProducts<'a> {
    service_code: &'static str,
    filters: Vec<Filter<'a>>,
    max_results: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Filter<'a> {
    #[serde(rename = "Type")]
    kind: &'static str,
    field: &'static str,
    value: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Products {
    /// JSON documents, each a string.
    #[serde(default)]
    price_list: Vec<String>,
}

impl Pricing<'_> {
    /// The price of an hour of an instance type on demand, in US dollars: Linux, shared tenancy,
    /// in the client's region. None if the price list has none.
    ///
    /// IAM: `pricing:GetProducts`.
    pub async fn on_demand(&self, instance_type: &str) -> Result<Option<f64>, CallError> {
        let region = self.client.region();
        let filters = [
            ("instanceType", instance_type),
            ("regionCode", region),
            ("operatingSystem", "Linux"),
            ("tenancy", "Shared"),
            ("preInstalledSw", "NA"),
            ("capacitystatus", "Used"),
        ]
        .map(|(field, value)| Filter {
            kind: "TERM_MATCH",
            field,
            value,
        });
        let input = GetProducts {
            service_code: "AmazonEC2",
            filters: filters.into(),
            max_results: 10,
        };
        self.client
            .observed("GetProducts", async {
                let products: Products = json::call(
                    self.client,
                    (Service::Pricing, "AWSPriceListService"),
                    "GetProducts",
                    instance_type,
                    Manner::READ,
                    &input,
                )
                .await?;
                Ok(products
                    .price_list
                    .iter()
                    .find_map(|product| hourly_price(product)))
            })
            .await
    }
}

/// The hourly price in one product of the list, which nests terms and dimensions under codes.
fn hourly_price(product: &str) -> Option<f64> {
    let product: Value = serde_json::from_str(product).ok()?;
    let terms = product.pointer("/terms/OnDemand")?.as_object()?;
    terms
        .values()
        .filter_map(|term| term.get("priceDimensions")?.as_object())
        .flat_map(serde_json::Map::values)
        .filter(|dimension| dimension["unit"] == "Hrs")
        .find_map(|dimension| {
            dimension
                .pointer("/pricePerUnit/USD")?
                .as_str()?
                .parse()
                .ok()
        })
        .filter(|price: &f64| price.is_finite() && 0.0 < *price)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hourly_price_is_found_under_the_codes() {
        let product = r#"{"product":{"attributes":{"instanceType":"m5.large"}},"terms":{"OnDemand":
            {"A.B":{"priceDimensions":{"A.B.C":{"unit":"Hrs","pricePerUnit":{"USD":"0.0960000000"}}}}}}}"#;
        assert_eq!(hourly_price(product), Some(0.096));
        assert_eq!(hourly_price("{}"), None);
        let free = product.replace("0.0960000000", "0.0000000000");
        assert_eq!(hourly_price(&free), None);
    }
}
