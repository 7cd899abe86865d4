//! Lists of numbers as llama-bench takes them: `512`, `1,2,4`, `1-4`, `0-4096+1024`, `1-64*2`.

use std::str::FromStr;

/// The most values of a list: each is a test of seconds at least, and a slip of the finger should not make a million.
const MOST: usize = 1000;

/// Numbers between commas, each one number or a range: `first-last`, `first-last+step`, `first-last*factor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbers(pub(super) Vec<usize>);

impl FromStr for Numbers {
    type Err = String;
    fn from_str(text: &str) -> Result<Numbers, String> {
        let mut numbers = Vec::new();
        for part in text.split(',') {
            range(part.trim(), &mut numbers)?;
        }
        Ok(Numbers(numbers))
    }
}

fn range(text: &str, numbers: &mut Vec<usize>) -> Result<(), String> {
    let wrong = || {
        format!(
            "{text:?} is not a number or a range: FIRST-LAST, FIRST-LAST+STEP or FIRST-LAST*FACTOR"
        )
    };
    let number = |text: &str| text.parse::<usize>().map_err(|_| wrong());
    let Some((first, rest)) = text.split_once('-') else {
        numbers.push(number(text)?);
        return Ok(());
    };
    let (last, step, factor) = if let Some((last, step)) = rest.split_once('+') {
        (last, number(step)?, 1)
    } else if let Some((last, factor)) = rest.split_once('*') {
        (last, 0, number(factor)?)
    } else {
        (rest, 1, 1)
    };
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(format!("{text:?} is a range that ends before it begins"));
    }
    let mut at = first;
    while at <= last {
        if numbers.len() >= MOST {
            return Err(format!("{text:?} is more than {MOST} values"));
        }
        numbers.push(at);
        let next = at.saturating_mul(factor).saturating_add(step);
        if next == at && next < last {
            return Err(format!("{text:?} is a range that stands still at {at}"));
        }
        if next == at {
            break;
        }
        at = next;
    }
    Ok(())
}

/// `-pg`: tokens read and generated in one test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair(pub(super) usize, pub(super) usize);

impl FromStr for Pair {
    type Err = String;
    fn from_str(text: &str) -> Result<Pair, String> {
        let numbers = text
            .split_once(',')
            .and_then(|(pp, tg)| Some(Pair(pp.trim().parse().ok()?, tg.trim().parse().ok()?)));
        numbers.ok_or_else(|| format!("{text:?} is not PP,TG, for example 512,128"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges() {
        for (text, wanted) in [
            ("512", &[512][..]),
            ("1,2, 4", &[1, 2, 4]),
            ("3-6", &[3, 4, 5, 6]),
            ("0-4096+2048", &[0, 2048, 4096]),
            ("1-9+4", &[1, 5, 9]),
            ("1-10+4", &[1, 5, 9]),
            ("1-20*2", &[1, 2, 4, 8, 16]),
            ("7-7", &[7]),
            ("7-7*1", &[7]),
            ("0-0*2", &[0]),
            ("1-2,8,10-30*3", &[1, 2, 8, 10, 30]),
            (
                "18446744073709551614-18446744073709551615",
                &[usize::MAX - 1, usize::MAX],
            ),
        ] {
            assert_eq!(text.parse(), Ok(Numbers(wanted.to_vec())), "{text}");
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in [
            "",
            ",",
            "1,",
            "-1",
            "x",
            "1-",
            "1-x",
            "1-2+",
            "1-2*x",
            "4-2",
            "1-9*1",
            "0-9*2",
            "1-9+0",
            "1-1001",
            "1.5",
            "1-9/2",
            "99999999999999999999",
        ] {
            let error = text.parse::<Numbers>().unwrap_err();
            assert!(
                !error.contains('\n') && error.contains('"'),
                "{text}: {error}"
            );
        }
        assert_eq!("1-1000".parse::<Numbers>().map(|n| n.0.len()), Ok(1000));
        assert_eq!("512, 128".parse(), Ok(Pair(512, 128)));
        for text in ["", "512", "512,", ",1", "512,128,1", "a,b"] {
            assert!(text.parse::<Pair>().is_err(), "{text}");
        }
    }
}
