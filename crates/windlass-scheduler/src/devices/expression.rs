//! What of CEL is settled before an expression is evaluated: macros that the parser does not know,
//! and forms that the evaluator has none of.

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, ListExpr, LiteralValue, MapExpr, SelectExpr,
    operators,
};

const OPTIONAL_OF: &str = "optional.of";

/// Puts `cel.bind`, `map.?key` and looks into the domains of attributes in terms of what can be
/// evaluated; false where the expression makes an object, of which there are no types here.
pub(super) fn expand(tree: &mut IdedExpr) -> bool {
    let is_known = match &mut tree.expr {
        Expr::Struct(_) | Expr::Unspecified => false,
        Expr::Ident(_) | Expr::Literal(_) => true,
        Expr::Select(select) => expand(&mut select.operand),
        Expr::List(list) => list.elements.iter_mut().all(expand),
        Expr::Map(map) => map.entries.iter_mut().all(|entry| match &mut entry.expr {
            EntryExpr::MapEntry(entry) => expand(&mut entry.key) && expand(&mut entry.value),
            EntryExpr::StructField(_) => false,
        }),
        Expr::Call(call) => {
            call.target.iter_mut().all(|target| expand(target)) && call.args.iter_mut().all(expand)
        }
        Expr::Comprehension(comprehension) => {
            let ComprehensionExpr {
                iter_range,
                accu_init,
                loop_cond,
                loop_step,
                result,
                ..
            } = &mut **comprehension;
            [iter_range, accu_init, loop_cond, loop_step, result]
                .into_iter()
                .all(expand)
        }
    };
    let other = match &mut tree.expr {
        Expr::Call(call) => binding(call)
            .or_else(|| of_domain(call))
            .or_else(|| optional_value(call)),
        Expr::Select(select) => selected_domain(select),
        _ => None,
    };
    if let Some(other) = other {
        tree.expr = other;
    }
    is_known
}

/// `device.attributes[domain]` as `domain in device.attributes ? device.attributes[domain] : {}`,
/// and the same of `device.capacity`: to a look into it a domain that a device has nothing of is
/// an empty map, while `domain in device.attributes` is false.
/// Source: `k8s.io/dynamic-resource-allocation/cel` `mapper`.
fn of_domain(call: &CallExpr) -> Option<Expr> {
    let is_optional = match call.func_name.as_str() {
        operators::INDEX => false,
        operators::OPT_INDEX => true,
        _ => return None,
    };
    let [domains, domain] = &call.args[..] else {
        return None;
    };
    let value = or_empty(domains, domain)?;
    Some(if is_optional {
        called(OPTIONAL_OF, vec![value]).expr
    } else {
        value.expr
    })
}

fn selected_domain(select: &SelectExpr) -> Option<Expr> {
    let domain = LiteralValue::String(select.field.clone().into());
    if select.test {
        let is_known = is_of_domains(&select.operand);
        return is_known.then(|| Expr::Literal(LiteralValue::Boolean(true.into())));
    }
    or_empty(&select.operand, &unnumbered(Expr::Literal(domain))).map(|value| value.expr)
}

fn or_empty(domains: &IdedExpr, domain: &IdedExpr) -> Option<IdedExpr> {
    if !is_of_domains(domains) {
        return None;
    }
    let is_there = called(operators::IN, vec![domain.clone(), domains.clone()]);
    let value = called(operators::INDEX, vec![domains.clone(), domain.clone()]);
    let empty = unnumbered(Expr::Map(MapExpr::default()));
    Some(called(operators::CONDITIONAL, vec![is_there, value, empty]))
}

/// Whether it is a device's attributes or capacities by domain.
fn is_of_domains(expr: &IdedExpr) -> bool {
    let Expr::Select(select) = &expr.expr else {
        return false;
    };
    let is_device = matches!(&select.operand.expr, Expr::Ident(name) if name == "device");
    is_device && !select.test && matches!(select.field.as_str(), "attributes" | "capacity")
}

/// `map.?key` as `"key" in map ? optional.of(map.key) : optional.none()`: the evaluator's own way
/// fails where the key is missing.
fn optional_value(call: &CallExpr) -> Option<Expr> {
    if call.func_name != operators::OPT_SELECT {
        return None;
    }
    let [map, key] = &call.args[..] else {
        return None;
    };
    let Expr::Literal(LiteralValue::String(field)) = &key.expr else {
        return None;
    };
    // Of an optional value the evaluator does it right.
    if is_optional(map) {
        return None;
    }
    let value = Expr::Select(SelectExpr {
        operand: Box::new(map.clone()),
        field: field.inner().to_owned(),
        test: false,
    });
    let is_there = called(operators::IN, vec![key.clone(), map.clone()]);
    let some = called(OPTIONAL_OF, vec![unnumbered(value)]);
    let none = called("optional.none", Vec::new());
    Some(called(operators::CONDITIONAL, vec![is_there, some, none]).expr)
}

/// Whether it is one of the optional values that are made here.
fn is_optional(expr: &IdedExpr) -> bool {
    let Expr::Call(call) = &expr.expr else {
        return false;
    };
    match call.func_name.as_str() {
        OPTIONAL_OF => true,
        operators::CONDITIONAL => call.args.get(1).is_some_and(is_optional),
        _ => false,
    }
}

fn called(function: &str, args: Vec<IdedExpr>) -> IdedExpr {
    unnumbered(Expr::Call(CallExpr {
        func_name: function.to_owned(),
        target: None,
        args,
    }))
}

fn unnumbered(expr: Expr) -> IdedExpr {
    IdedExpr { id: 0, expr }
}

/// `cel.bind(name, value, body)` as a loop over nothing that begins with the value.
/// Source: cel-go `ext/bindings.go`.
fn binding(call: &mut CallExpr) -> Option<Expr> {
    let is_cel = |target: &IdedExpr| matches!(&target.expr, Expr::Ident(name) if name == "cel");
    if call.func_name != "bind" || !call.target.as_deref().is_some_and(is_cel) {
        return None;
    }
    let [name, value, body] = &mut call.args[..] else {
        return None;
    };
    let Expr::Ident(name) = &name.expr else {
        return None;
    };
    let name = name.clone();
    Some(Expr::Comprehension(Box::new(ComprehensionExpr {
        iter_range: unnumbered(Expr::List(ListExpr::default())),
        iter_var: "#unused".to_owned(),
        iter_var2: None,
        accu_var: name.clone(),
        accu_init: std::mem::take(value),
        loop_cond: unnumbered(Expr::Literal(LiteralValue::Boolean(false.into()))),
        loop_step: unnumbered(Expr::Ident(name)),
        result: std::mem::take(body),
    })))
}
