//! Arithmetic: an expression in, a number out. Integers are exact while they stay integers; other numbers are `f64` by the pure-Rust
//! `libm`, so that every machine says the same.

/// The longest expression.
const MAX_LENGTH: usize = 2000;
/// The deepest nesting of parentheses, signs and powers.
const MAX_DEPTH: u32 = 100;

/// The value of an expression, or a sentence that says why there is none.
pub(super) fn evaluate(expression: &str) -> Result<String, String> {
    if expression.len() > MAX_LENGTH {
        return Err(format!(
            "The expression has {} characters, more than the {MAX_LENGTH} that are allowed.",
            expression.chars().count()
        ));
    }
    let mut parser = Parser {
        rest: expression,
        whole: expression,
        depth: 0,
    };
    let value = parser.sum()?;
    match parser.peek() {
        None => Ok(value.finite()?.show()),
        Some(')') => Err(parser.wrong("there is no \"(\" for \")\"")),
        Some(',') => Err(parser
            .wrong("\",\" only separates the arguments of a function; write numbers as 1234.5")),
        Some(_) => Err(parser.wrong("an operator is missing")),
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Number {
    Whole(i128),
    Real(f64),
}

use Number::{Real, Whole};

const BY_ZERO: &str = "Division by zero.";

impl Number {
    fn real(self) -> f64 {
        match self {
            Whole(n) => n as f64,
            Real(x) => x,
        }
    }

    fn is_zero(self) -> bool {
        self.real() == 0.0
    }

    fn finite(self) -> Result<Number, String> {
        match self {
            Real(x) if x.is_nan() => Err("The result is not a real number.".into()),
            Real(x) if x.is_infinite() => Err("The result is too large.".into()),
            sound => Ok(sound),
        }
    }

    /// Fifteen digits, which is what `f64` keeps of a decimal: 0.1 + 0.2 is 0.3.
    fn show(self) -> String {
        let x = match self {
            Whole(n) => return n.to_string(),
            Real(x) => x,
        };
        let rounded: f64 = format!("{x:.14e}").parse().unwrap_or(x);
        match rounded.abs() {
            0.0 => "0".into(),
            size if (1e-6..1e15).contains(&size) => rounded.to_string(),
            _ => format!("{rounded:e}"),
        }
    }

    /// By `exact` where both are integers and it has a result, else by `real`.
    fn with(
        self,
        other: Number,
        exact: fn(i128, i128) -> Option<i128>,
        real: fn(f64, f64) -> f64,
    ) -> Result<Number, String> {
        if let (Whole(a), Whole(b)) = (self, other)
            && let Some(n) = exact(a, b)
        {
            return Ok(Whole(n));
        }
        Real(real(self.real(), other.real())).finite()
    }

    fn divided(self, by: Number) -> Result<Number, String> {
        if by.is_zero() {
            return Err(BY_ZERO.into());
        }
        let exact = |a: i128, b: i128| (a.checked_rem(b) == Some(0)).then(|| a / b);
        self.with(by, exact, |a, b| a / b)
    }

    /// With the sign of the divisor, as in Python.
    fn remainder(self, by: Number) -> Result<Number, String> {
        if by.is_zero() {
            return Err(BY_ZERO.into());
        }
        let exact = |a: i128, b: i128| {
            let rest = a.checked_rem(b).unwrap_or(0);
            Some(if rest != 0 && (rest < 0) != (b < 0) {
                rest + b
            } else {
                rest
            })
        };
        self.with(by, exact, |a, b| {
            let rest = libm::fmod(a, b);
            if rest != 0.0 && (rest < 0.0) != (b < 0.0) {
                rest + b
            } else {
                rest
            }
        })
    }

    fn power(self, by: Number) -> Result<Number, String> {
        if self.is_zero() && by.real() < 0.0 {
            return Err(BY_ZERO.into());
        }
        let exact = |a: i128, b: i128| match a {
            // Of these, no exponent is too large; the parity of one might not survive as a float.
            1 => Some(1),
            -1 => Some(if b % 2 == 0 { 1 } else { -1 }),
            _ => a.checked_pow(u32::try_from(b).ok()?),
        };
        self.with(by, exact, libm::pow)
    }
}

struct Parser<'a> {
    rest: &'a str,
    whole: &'a str,
    depth: u32,
}

/// Each level of the grammar gives a value, or a sentence.
type Value = Result<Number, String>;

impl Parser<'_> {
    /// The next character that is not a space.
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    fn skip(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn any(&mut self, tokens: &[&str]) -> bool {
        tokens.iter().any(|token| self.skip(token))
    }

    fn wrong(&self, why: &str) -> String {
        let before = &self.whole[..self.whole.len() - self.rest.len()];
        let place = match self.rest.chars().next() {
            Some(_) => format!("at character {}", before.chars().count() + 1),
            None => "at the end".into(),
        };
        format!("The expression is wrong {place}: {why}.")
    }

    fn deeper<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T, String>,
    ) -> Result<T, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!(
                "The expression is nested more than {MAX_DEPTH} levels deep."
            ));
        }
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    fn sum(&mut self) -> Value {
        let mut left = self.product()?;
        loop {
            if self.skip("+") {
                left = left.with(self.product()?, i128::checked_add, |a, b| a + b)?;
            } else if self.any(&["-", "\u{2212}"]) {
                left = left.with(self.product()?, i128::checked_sub, |a, b| a - b)?;
            } else {
                return Ok(left);
            }
        }
    }

    fn product(&mut self) -> Value {
        let mut left = self.signed()?;
        loop {
            if self.any(&["*", "\u{d7}", "\u{b7}"]) {
                left = left.with(self.signed()?, i128::checked_mul, |a, b| a * b)?;
            } else if self.any(&["/", "\u{f7}"]) {
                left = left.divided(self.signed()?)?;
            } else if self.skip("%") {
                left = left.remainder(self.signed()?)?;
            } else {
                return Ok(left);
            }
        }
    }

    /// A sign binds less than a power: -2^2 is -4.
    fn signed(&mut self) -> Value {
        if self.any(&["-", "\u{2212}"]) {
            let value = self.deeper(Self::signed)?;
            return Whole(0).with(value, i128::checked_sub, |_, x| -x);
        }
        if self.skip("+") {
            return self.deeper(Self::signed);
        }
        let base = self.atom()?;
        if self.any(&["^", "**"]) {
            // 2^3^2 is 2^9.
            return base.power(self.deeper(Self::signed)?);
        }
        Ok(base)
    }

    fn atom(&mut self) -> Value {
        match self.peek() {
            Some('(') => {
                self.skip("(");
                let value = self.deeper(Self::sum)?;
                self.close()?;
                Ok(value)
            }
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            Some(c) if c.is_alphabetic() => self.named(),
            Some(_) => Err(self.wrong("a number is missing")),
            None if self.whole.trim().is_empty() => Err("The expression is empty.".into()),
            None => Err(self.wrong("a number is missing")),
        }
    }

    fn close(&mut self) -> Result<(), String> {
        if self.skip(")") {
            return Ok(());
        }
        Err(match self.peek() {
            None | Some(',') => self.wrong("\")\" is missing"),
            Some(_) => self.wrong("an operator or \")\" is missing"),
        })
    }

    fn number(&mut self) -> Value {
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let text = self.rest;
        let mut end = digits(text);
        let mut whole = true;
        if text[end..].starts_with('.') {
            whole = false;
            end += 1 + digits(&text[end + 1..]);
        }
        if text[end..].starts_with(['e', 'E']) {
            let sign = usize::from(text[end + 1..].starts_with(['+', '-']));
            let exponent = digits(&text[end + 1 + sign..]);
            if exponent > 0 {
                whole = false;
                end += 1 + sign + exponent;
            }
        }
        let number = &text[..end];
        if text[end..].starts_with(|c: char| c.is_alphanumeric() || c == '.' || c == '_') {
            self.rest = &text[end..];
            return Err(self.wrong("an operator is missing"));
        }
        let value = if whole {
            number.parse().ok().map(Whole)
        } else {
            None
        };
        let value = match value.or_else(|| number.parse().ok().map(Real)) {
            Some(value) => value,
            None => return Err(self.wrong("that is no number")),
        };
        self.rest = &text[end..];
        value.finite()
    }

    fn named(&mut self) -> Value {
        let at = self.rest;
        let end = at
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(at.len());
        let name = at[..end].to_lowercase();
        let unknown = |parser: &Self| {
            parser.wrong(&format!(
                "\"{name}\" is unknown; there are sqrt, abs, round, min, max, sin, cos, ln, log, exp, pi and e"
            ))
        };
        let function = match name.as_str() {
            "pi" | "\u{3c0}" | "e" => {
                self.rest = &at[end..];
                return Ok(Real(if name == "e" {
                    std::f64::consts::E
                } else {
                    std::f64::consts::PI
                }));
            }
            "sqrt" | "abs" | "round" | "min" | "max" | "sin" | "cos" | "ln" | "log" | "exp" => {
                name.as_str()
            }
            _ => return Err(unknown(self)),
        };
        self.rest = &at[end..];
        if !self.skip("(") {
            return Err(self.wrong(&format!("{function} needs \"(\"")));
        }
        let mut arguments = vec![self.deeper(Self::sum)?];
        while self.skip(",") {
            arguments.push(self.deeper(Self::sum)?);
        }
        self.close()?;
        apply(function, &arguments)
    }
}

fn apply(function: &str, arguments: &[Number]) -> Value {
    let (first, more) = (arguments[0], &arguments[1..]);
    let most = match function {
        "min" | "max" => usize::MAX,
        "round" | "log" => 2,
        _ => 1,
    };
    if arguments.len() > most {
        return Err(format!(
            "{function} takes {most} number{}, not {}.",
            if most == 1 { "" } else { "s" },
            arguments.len()
        ));
    }
    let logarithm = |x: Number, of: fn(f64) -> f64| {
        if x.real() > 0.0 {
            Ok(of(x.real()))
        } else {
            Err("Only numbers above zero have a logarithm.".to_owned())
        }
    };
    let value = match function {
        "abs" => match first {
            Whole(n) => n.checked_abs().map_or(Real(first.real().abs()), Whole),
            Real(x) => Real(x.abs()),
        },
        "sqrt" if first.real() < 0.0 => {
            return Err("The square root of a negative number is not a real number.".into());
        }
        "sqrt" => match first {
            Whole(n) if n.isqrt().pow(2) == n => Whole(n.isqrt()),
            _ => Real(libm::sqrt(first.real())),
        },
        "round" => return round(first, more.first().copied()),
        // Which of two is larger is asked of integers where both are.
        "min" | "max" => more.iter().fold(first, |best, &next| {
            let less = match (next, best) {
                (Whole(a), Whole(b)) => a < b,
                _ => next.real() < best.real(),
            };
            if less == (function == "min") && next != best {
                next
            } else {
                best
            }
        }),
        "sin" => Real(libm::sin(first.real())),
        "cos" => Real(libm::cos(first.real())),
        "exp" => Real(libm::exp(first.real())),
        "ln" => Real(logarithm(first, libm::log)?),
        // The logarithm to base 10, or to the base that is given.
        _ => match more.first() {
            None => Real(logarithm(first, libm::log10)?),
            Some(&base) => {
                let base = logarithm(base, libm::log)?;
                return Real(logarithm(first, libm::log)?).divided(Real(base));
            }
        },
    };
    value.finite()
}

/// To so many decimals, halves away from zero; an integer if there are none.
fn round(value: Number, decimals: Option<Number>) -> Value {
    let decimals = match decimals.unwrap_or(Whole(0)) {
        Whole(n) if (-300..=300).contains(&n) => n as i32,
        _ => return Err("round takes an integer of decimals, from -300 to 300.".into()),
    };
    if decimals >= 0 && matches!(value, Whole(_)) {
        return Ok(value);
    }
    if decimals == 0 {
        let rounded = libm::round(value.real());
        // Where floats have no fractions any more, an integer of theirs would only look exact.
        return Ok(if rounded.abs() < 9e15 {
            Whole(rounded as i128)
        } else {
            Real(rounded)
        });
    }
    if decimals < 0 {
        let step = 10_i128.checked_pow(decimals.unsigned_abs());
        if let (Whole(n), Some(step)) = (value, step) {
            let rest = n % step;
            let up = if rest.unsigned_abs() >= step.unsigned_abs().div_ceil(2) {
                step * rest.signum()
            } else {
                0
            };
            if let Some(n) = (n - rest).checked_add(up) {
                return Ok(Whole(n));
            }
        }
    }
    let factor = libm::pow(10.0, f64::from(decimals));
    let scaled = value.real() * factor;
    // So many decimals are more than it has.
    if !scaled.is_finite() {
        return Ok(value);
    }
    // 1.005 stands for 1.005 here, not for the float a little below it.
    let shown: f64 = format!("{scaled:.14e}").parse().unwrap_or(scaled);
    Real(libm::round(shown) / factor).finite()
}

#[cfg(test)]
mod tests {
    use super::evaluate;

    #[test]
    fn sums() {
        for (expression, value) in [
            ("1+2", "3"),
            (" 2 + 3 * 4 ", "14"),
            ("(2+3)*4", "20"),
            ("7/2", "3.5"),
            ("6/2", "3"),
            ("1/3", "0.333333333333333"),
            ("0.1+0.2", "0.3"),
            ("1e3", "1000"),
            ("2.50", "2.5"),
            (".5 + 5.", "5.5"),
            ("-7 % 3", "2"),
            ("7 % -3", "-2"),
            ("7.5 % 2", "1.5"),
            ("-2^2", "-4"),
            ("(-2)^2", "4"),
            ("2^3^2", "512"),
            ("2**10", "1024"),
            ("2^-1", "0.5"),
            ("4^0.5", "2"),
            ("--3", "3"),
            ("2 - -3", "5"),
            ("+5", "5"),
            ("10 - 4 - 3", "3"),
            ("100 / 10 / 2", "5"),
            ("6 \u{d7} 7 \u{2212} 84 \u{f7} 2", "0"),
            (
                "170141183460469231731687303715884105727",
                "170141183460469231731687303715884105727",
            ),
            ("2^126", "85070591730234615865843651857942052864"),
            (
                "123456789012345678 * 1000000007",
                "123456789876543201086419746",
            ),
            ("2^127 / 2", "8.50705917302346e37"),
            ("2^1000", "1.07150860718627e301"),
            ("(-1)^123456789012345678901", "-1"),
            ("0^0", "1"),
            ("0^5", "0"),
            ("1e-9", "1e-9"),
            ("sqrt(16)", "4"),
            ("sqrt(2)", "1.4142135623731"),
            (
                "sqrt(100000000000000000000000000000000000000)",
                "10000000000000000000",
            ),
            ("abs(-3)", "3"),
            ("abs(-3.5)", "3.5"),
            ("round(2.5)", "3"),
            ("round(-2.5)", "-3"),
            ("round(2.345, 2)", "2.35"),
            ("round(1.005, 2)", "1.01"),
            ("round(1250, -2)", "1300"),
            ("round(1249, -2)", "1200"),
            ("round(-1250, -2)", "-1300"),
            ("round(1e300, 300)", "1e300"),
            ("min(3, 1, 2)", "1"),
            ("max(3, 1, 2.5)", "3"),
            ("MAX(1, 2)", "2"),
            ("max(1, max(2, 3))", "3"),
            ("sin(0)", "0"),
            ("cos(pi)", "-1"),
            ("sin(pi)", "1.22464679914735e-16"),
            ("ln(e)", "1"),
            ("log(1000)", "3"),
            ("log(8, 2)", "3"),
            ("exp(0)", "1"),
            ("2*pi", "6.28318530717959"),
            ("2*e^1", "5.43656365691809"),
        ] {
            assert_eq!(evaluate(expression).as_deref(), Ok(value), "{expression}");
        }
    }

    #[test]
    fn no_sums() {
        for (expression, part) in [
            ("", "empty"),
            ("   ", "empty"),
            ("1/0", "Division by zero"),
            ("1.5/0.0", "Division by zero"),
            ("1 % 0", "Division by zero"),
            ("0^-1", "Division by zero"),
            ("log(8, 1)", "Division by zero"),
            ("1+", "at the end: a number is missing"),
            ("1 + * 2", "at character 5: a number is missing"),
            ("(1", "at the end: \")\" is missing"),
            ("1)", "at character 2: there is no \"(\""),
            ("1,000", "at character 2: \",\" only"),
            ("2 3", "an operator is missing"),
            ("2pi", "an operator is missing"),
            ("1.2.3", "an operator is missing"),
            (".", "that is no number"),
            ("(1 2)", "an operator or \")\" is missing"),
            ("foo(1)", "\"foo\" is unknown"),
            ("x", "\"x\" is unknown"),
            ("sqrt 4", "sqrt needs \"(\""),
            ("sqrt()", "a number is missing"),
            ("sqrt(1, 2)", "sqrt takes 1 number, not 2"),
            ("log(1, 2, 3)", "log takes 2 numbers, not 3"),
            ("sqrt(-1)", "not a real number"),
            ("(-8)^0.5", "not a real number"),
            ("ln(0)", "logarithm"),
            ("log(-1)", "logarithm"),
            ("1e999", "too large"),
            ("10^400", "too large"),
            ("9^9^9^9", "too large"),
            ("exp(1000)", "too large"),
            ("round(1, 0.5)", "decimals"),
            ("1 = 1", "an operator is missing"),
            ("__import__('os')", "a number is missing"),
            ("1; ls", "an operator is missing"),
            ("\u{661}", "a number is missing"),
        ] {
            let told = evaluate(expression).expect_err(expression);
            assert!(
                told.contains(part) && told.ends_with('.'),
                "{expression}: {told}"
            );
        }
    }

    #[test]
    fn nothing_is_too_deep_or_too_long() {
        for deep in ["(", "-", "+", "2^", "abs(", "--", "2^-", "1+(", "max(1,"] {
            let told = evaluate(&deep.repeat(10_000)).unwrap_err();
            assert!(told.contains("characters"), "{told}");
            let some = deep.repeat(2000 / deep.len());
            let told = evaluate(&some).unwrap_err();
            assert!(told.contains("nested"), "{deep}: {told}");
        }
        let sum = "1+".repeat(999) + "1";
        assert_eq!(evaluate(&sum).as_deref(), Ok("1000"));
        let nested = "(".repeat(99) + "1" + &")".repeat(99);
        assert_eq!(evaluate(&nested).as_deref(), Ok("1"));
        assert!(
            evaluate(&"9".repeat(2000))
                .unwrap_err()
                .contains("too large")
        );
        assert_eq!(
            evaluate(&format!("1e{}", "9".repeat(500))).unwrap_err(),
            "The result is too large."
        );
        assert!(evaluate(&("1".to_owned() + &"^1".repeat(99))).is_ok());
    }
}
