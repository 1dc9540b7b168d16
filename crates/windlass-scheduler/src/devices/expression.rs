//! What of CEL is settled before an expression is evaluated: macros that the parser does not know,
//! and forms that the evaluator has none of.

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, ListExpr, LiteralValue, SelectExpr, operators,
};

/// Puts `cel.bind` and `map.?key` in terms of what can be evaluated; false where the expression makes an object,
/// of which there are no types here.
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
    if let Expr::Call(call) = &mut tree.expr
        && let Some(other) = binding(call).or_else(|| optional_value(call))
    {
        tree.expr = other;
    }
    is_known
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
    if matches!(&map.expr, Expr::Call(inner) if inner.func_name == operators::CONDITIONAL) {
        return None;
    }
    let value = Expr::Select(SelectExpr {
        operand: Box::new(map.clone()),
        field: field.inner().to_owned(),
        test: false,
    });
    let is_there = called(operators::IN, vec![key.clone(), map.clone()]);
    let some = called("optional.of", vec![unnumbered(value)]);
    let none = called("optional.none", Vec::new());
    Some(called(operators::CONDITIONAL, vec![is_there, some, none]).expr)
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
