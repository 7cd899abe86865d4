//! What the template engine reckons out before a template runs.
//!
//! Where all parts of an expression are constants, the engine does its work while it compiles it, and counts nothing:
//! `{{ [0] * 90000000 == [0] * 90000000 }}` compares there. No constant is larger than it is written, but for lists that are repeated
//! (texts have a bound of the engine's own). So those are refused; what has a variable in it is reckoned, and counted, when it runs.

use minijinja::machinery::ast::{BinOpKind, Call, CallArg, Expr, Macro, Stmt};
use minijinja::{Error, ErrorKind};

/// A list that is written out may be repeated so often.
const FEW: usize = 16;

/// What the engine knows of an expression when it compiles it.
enum Known {
    /// Nothing: it has variables, or calls something.
    Nothing,
    /// The value, which is no list that could be repeated.
    Value,
    /// The value, which may be such a list.
    List,
}

/// Looks through a statement, and all that it holds.
///
/// # Errors
/// If a constant in it would be much larger than it is written.
pub(super) fn check(statement: &Stmt<'_>) -> Result<(), Error> {
    match statement {
        Stmt::Template(it) => all(&it.children),
        Stmt::EmitExpr(it) => walk(&it.expr),
        Stmt::ForLoop(it) => {
            walk(&it.target)?;
            walk(&it.iter)?;
            maybe(it.filter_expr.as_ref())?;
            all(&it.body)?;
            all(&it.else_body)
        }
        Stmt::IfCond(it) => {
            walk(&it.expr)?;
            all(&it.true_body)?;
            all(&it.false_body)
        }
        Stmt::WithBlock(it) => {
            for (target, value) in &it.assignments {
                walk(target)?;
                walk(value)?;
            }
            all(&it.body)
        }
        Stmt::Set(it) => {
            walk(&it.target)?;
            walk(&it.expr)
        }
        Stmt::SetBlock(it) => {
            walk(&it.target)?;
            maybe(it.filter.as_ref())?;
            all(&it.body)
        }
        Stmt::AutoEscape(it) => {
            walk(&it.enabled)?;
            all(&it.body)
        }
        Stmt::FilterBlock(it) => {
            walk(&it.filter)?;
            all(&it.body)
        }
        Stmt::Macro(it) => declared(it),
        Stmt::CallBlock(it) => {
            called(&it.call)?;
            declared(&it.macro_decl)
        }
        Stmt::Do(it) => called(&it.call),
        _ => Ok(()),
    }
}

fn all(statements: &[Stmt<'_>]) -> Result<(), Error> {
    statements.iter().try_for_each(check)
}

fn declared(it: &Macro<'_>) -> Result<(), Error> {
    it.defaults.iter().try_for_each(walk)?;
    all(&it.body)
}

fn called(it: &Call<'_>) -> Result<(), Error> {
    walk(&it.expr)?;
    arguments(&it.args)
}

fn arguments(list: &[CallArg<'_>]) -> Result<(), Error> {
    for argument in list {
        let (CallArg::Pos(it)
        | CallArg::Kwarg(_, it)
        | CallArg::PosSplat(it)
        | CallArg::KwargSplat(it)) = argument;
        walk(it)?;
    }
    Ok(())
}

fn maybe(expression: Option<&Expr<'_>>) -> Result<(), Error> {
    expression.map_or(Ok(()), walk)
}

fn walk(expression: &Expr<'_>) -> Result<(), Error> {
    known(expression)?;
    Ok(())
}

/// Looks through expressions, and says whether each is written out.
fn written(items: &[Expr<'_>]) -> Result<bool, Error> {
    items.iter().try_for_each(walk)?;
    Ok(items.iter().all(|item| matches!(item, Expr::Const(_))))
}

fn known(expression: &Expr<'_>) -> Result<Known, Error> {
    let value_if = |known: bool| if known { Known::Value } else { Known::Nothing };
    match expression {
        Expr::Var(_) => {}
        Expr::Const(_) => return Ok(Known::Value),
        Expr::List(it) => {
            if written(&it.items)? {
                return Ok(Known::List);
            }
        }
        // The engine has a bound for tuples that are repeated, and maps cannot be.
        Expr::Tuple(it) => return Ok(value_if(written(&it.items)?)),
        Expr::Map(it) => {
            let keys = written(&it.keys)?;
            return Ok(value_if(written(&it.values)? && keys));
        }
        Expr::UnaryOp(it) => {
            let inner = known(&it.expr)?;
            return Ok(value_if(!matches!(inner, Known::Nothing)));
        }
        Expr::Compare(it) => {
            let mut constant = !matches!(known(&it.expr)?, Known::Nothing);
            for op in &it.ops {
                constant &= !matches!(known(&op.expr)?, Known::Nothing);
            }
            return Ok(value_if(constant));
        }
        Expr::BinOp(it) => {
            let lists = match (known(&it.left)?, known(&it.right)?) {
                (Known::Nothing, _) | (_, Known::Nothing) => return Ok(Known::Nothing),
                (left, right) => matches!(left, Known::List) || matches!(right, Known::List),
            };
            let repeated = matches!(it.op, BinOpKind::Mul);
            if lists && repeated && !(few(&it.left, &it.right) || few(&it.right, &it.left)) {
                return Err(repeated_too_often());
            }
            let kept = matches!(
                it.op,
                BinOpKind::Mul | BinOpKind::Add | BinOpKind::ScAnd | BinOpKind::ScOr
            );
            return Ok(if lists && kept {
                Known::List
            } else {
                Known::Value
            });
        }
        Expr::Slice(it) => {
            walk(&it.expr)?;
            maybe(it.start.as_ref())?;
            maybe(it.stop.as_ref())?;
            maybe(it.step.as_ref())?;
        }
        Expr::IfExpr(it) => {
            walk(&it.test_expr)?;
            walk(&it.true_expr)?;
            maybe(it.false_expr.as_ref())?;
        }
        Expr::Filter(it) => {
            maybe(it.expr.as_ref())?;
            arguments(&it.args)?;
        }
        Expr::Test(it) => {
            walk(&it.expr)?;
            arguments(&it.args)?;
        }
        Expr::GetAttr(it) => walk(&it.expr)?,
        Expr::GetItem(it) => {
            walk(&it.expr)?;
            walk(&it.subscript_expr)?;
        }
        Expr::Call(it) => called(it)?,
    }
    Ok(Known::Nothing)
}

fn repeated_too_often() -> Error {
    let why = format!("a list that is a constant is repeated more than {FEW} times");
    Error::new(ErrorKind::InvalidOperation, why)
}

/// Whether a list is written out, and repeated a few times.
fn few(list: &Expr<'_>, times: &Expr<'_>) -> bool {
    let times = match times {
        Expr::Const(times) => times.value.as_usize(),
        _ => None,
    };
    matches!(list, Expr::List(_)) && times.is_some_and(|times| times <= FEW)
}
