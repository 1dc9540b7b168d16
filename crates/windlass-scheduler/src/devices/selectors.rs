//! Device selectors: the only place that knows CEL.

use std::sync::{Arc, LazyLock};

use kube_cel::KubeCelExt;
use kube_cel::cel::objects::{Key, Map};
use kube_cel::cel::parser::Parser;
use kube_cel::cel::{Context, IdedExpr, Program, Value};
use rustc_hash::FxHashMap;
use windlass_model::{Device, DeviceAttribute, DeviceCapacity, ResourceSlice, SmolStr};

use super::expression::expand;

/// The functions that Kubernetes has: to gather them costs more than most evaluations.
static FUNCTIONS: LazyLock<Context<'static>> = LazyLock::new(|| Context::default().with_all());

/// Compiled selectors by their text, and what they said of devices.
#[derive(Clone, Default)]
pub(super) struct Selectors {
    programs: FxHashMap<SmolStr, Selector>,
    /// By selector and the slice's address.
    known: FxHashMap<(u32, usize), Known>,
}

#[derive(Clone)]
struct Selector {
    number: u32,
    /// `None` for what does not compile.
    tree: Option<Arc<IdedExpr>>,
}

/// Whether a slice's devices match, as far as somebody asked.
#[derive(Clone)]
struct Known {
    /// Keeps the address from being given to another slice.
    _slice: Arc<ResourceSlice>,
    matches: Vec<Option<bool>>,
}

impl std::fmt::Debug for Selectors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Selectors({})", self.programs.len())
    }
}

impl Selectors {
    /// Whether the slice's device of that number satisfies the expression; an error is the text of
    /// one.
    pub(super) fn matches(
        &mut self,
        expression: &SmolStr,
        slice: &Arc<ResourceSlice>,
        device: usize,
    ) -> Result<bool, String> {
        let next = u32::try_from(self.programs.len()).unwrap_or(u32::MAX);
        let selector = self
            .programs
            .entry(expression.clone())
            .or_insert_with(|| Selector {
                number: next,
                tree: compile(expression).map(Arc::new),
            });
        let key = (selector.number, Arc::as_ptr(slice) as usize);
        let known = self.known.entry(key).or_insert_with(|| Known {
            _slice: Arc::clone(slice),
            matches: vec![None; slice.devices.len()],
        });
        if let Some(matches) = known.matches[device] {
            return Ok(matches);
        }
        let Some(tree) = &selector.tree else {
            return Err("CEL compile error".to_owned());
        };
        let matches = evaluate(tree, &slice.driver, &slice.devices[device])?;
        known.matches[device] = Some(matches);
        Ok(matches)
    }
}

fn evaluate(tree: &IdedExpr, driver: &str, device: &Device) -> Result<bool, String> {
    let mut context = FUNCTIONS.new_inner_scope();
    let value = device_value(driver, device)?;
    context.add_variable_from_value("device", value);
    match Value::resolve(tree, &context) {
        Ok(Value::Bool(matches)) => Ok(matches),
        Ok(other) => Err(format!("CEL runtime error: {other:?} is not a bool")),
        Err(error) => Err(format!("CEL runtime error: {error}")),
    }
}

fn compile(expression: &str) -> Option<IdedExpr> {
    let parser = Parser::default().enable_optional_syntax(true);
    let mut tree = parser.parse(expression).ok()?;
    expand(&mut tree).then_some(tree)
}

fn device_value(driver: &str, device: &Device) -> Result<Value, String> {
    let mut attributes = Domains::default();
    for (name, attribute) in &device.attributes {
        let value = match attribute {
            DeviceAttribute::String(text) => Value::String(Arc::new(text.to_string())),
            DeviceAttribute::Int(number) => Value::Int(*number),
            DeviceAttribute::Bool(truth) => Value::Bool(*truth),
            DeviceAttribute::Version(text) => made_by("semver", text)?,
            DeviceAttribute::Unset => {
                return Err(format!("attribute {name}: unsupported attribute value"));
            }
        };
        attributes.insert(driver, name, value);
    }
    let mut capacity = Domains::default();
    for DeviceCapacity { name, value, .. } in &device.capacity {
        let value = made_by("quantity", &value.to_string())?;
        capacity.insert(driver, name, value);
    }
    let allows_several = device.allows_multiple_allocations;
    Ok(map([
        ("driver", Value::String(Arc::new(driver.to_owned()))),
        ("allowMultipleAllocations", Value::Bool(allows_several)),
        ("attributes", attributes.into_value()),
        ("capacity", capacity.into_value()),
    ]))
}

/// The value that a Kubernetes function makes of a text.
fn made_by(function: &str, text: &str) -> Result<Value, String> {
    let source = format!("{function}({text:?})");
    let program = Program::compile(&source).map_err(|error| error.to_string())?;
    program
        .execute(&FUNCTIONS)
        .map_err(|error| error.to_string())
}

/// Values by domain and name; a name without a domain has the driver's.
#[derive(Default)]
struct Domains(FxHashMap<String, FxHashMap<Key, Value>>);

impl Domains {
    fn insert(&mut self, driver: &str, name: &str, value: Value) {
        let (domain, name) = name.split_once('/').unwrap_or((driver, name));
        let of_domain = self.0.entry(domain.to_owned()).or_default();
        of_domain.insert(Key::from(name), value);
    }

    fn into_value(self) -> Value {
        map(self
            .0
            .into_iter()
            .map(|(domain, values)| (domain, map(values))))
    }
}

fn map<K: Into<Key>>(entries: impl IntoIterator<Item = (K, Value)>) -> Value {
    let entries = entries.into_iter().map(|(key, value)| (key.into(), value));
    Value::Map(Map {
        map: Arc::new(entries.collect()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu() -> Device {
        Device {
            name: "d".into(),
            attributes: vec![
                ("model".into(), DeviceAttribute::String("A100".into())),
                ("other.com/index".into(), DeviceAttribute::Int(3)),
                ("firmware".into(), DeviceAttribute::Version("1.2.3".into())),
            ],
            capacity: vec![DeviceCapacity {
                name: "memory".into(),
                value: "40Gi".parse().unwrap(),
                policy: None,
            }],
            ..Device::default()
        }
    }

    fn matches(expression: &str) -> Result<bool, String> {
        let slice = Arc::new(ResourceSlice {
            driver: "gpu.com".into(),
            devices: vec![gpu()],
            ..ResourceSlice::default()
        });
        let mut selectors = Selectors::default();
        let first = selectors.matches(&expression.into(), &slice, 0);
        assert_eq!(selectors.matches(&expression.into(), &slice, 0), first);
        first
    }

    #[test]
    fn attributes_and_capacity_are_compared() {
        for expression in [
            "device.driver == \"gpu.com\"",
            "device.attributes[\"gpu.com\"].model in [\"A100\", \"H100\"]",
            "device.attributes['other.com'].index >= 3",
            "device.attributes[\"gpu.com\"].firmware.isGreaterThan(semver(\"1.2.0\"))",
            "device.capacity[\"gpu.com\"].memory.compareTo(quantity(\"40Gi\")) >= 0",
            "!has(device.attributes[\"none.com\"].model)",
            "device.attributes[\"gpu.com\"].?none.orValue(\"x\") == \"x\"",
            "device.attributes[\"gpu.com\"].?model.orValue(\"x\") == \"A100\"",
            "cel.bind(gpu, device.attributes[\"gpu.com\"], gpu.model == \"A100\" && has(gpu.firmware))",
            "cel.bind(a, 1, cel.bind(b, a + 1, a + b == 3))",
            "device.attributes[\"none.com\"].?model.orValue(\"x\") == \"x\"",
            "device.attributes[?\"none.com\"].hasValue()",
            "!(\"none.com\" in device.attributes) && !has(device.attributes[\"none.com\"].model)",
            "has(device.attributes.none) && device.attributes[\"\"] == {}",
            "device.attributes.size() == 2 && !device.attributes.exists(d, d == \"none.com\")",
            "!(\"none.com\" in device.attributes && device.attributes[\"none.com\"].x == 1)",
        ] {
            assert_eq!(matches(expression), Ok(true), "{expression}");
        }
    }

    #[test]
    fn what_cannot_be_evaluated_is_an_error() {
        for expression in [
            "1 +",
            "Object{a: 1}.a == 1",
            "[Object{}].size() == 1",
            "cel.bind(1, 2, true)",
            "device.attributes[\"gpu.com\"].none == 1",
            "device.attributes[\"none.com\"].none == 1",
            "device.driver",
        ] {
            assert!(matches(expression).is_err(), "{expression}");
        }
    }
}
