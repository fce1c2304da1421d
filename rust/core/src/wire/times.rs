//! ISO-8601 times as `dateutil.parser.isoparse` reads them, which is what a Celery worker uses.

use crate::error::{Error, Result};

/// A moment, or a wall time that its reader must place in a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IsoTime {
    /// Milliseconds since the Unix epoch, as if in UTC when there is no offset. A fraction of a
    /// millisecond rounds up, so that nothing starts early.
    pub unix_ms: i64,
    /// Whether the text had an offset.
    pub has_offset: bool,
}

/// Parses an ISO-8601 date or date and time.
///
/// # Errors
/// [`Error::Malformed`] with the text.
pub fn parse_iso(text: &str) -> Result<IsoTime> {
    let mut cursor = Cursor {
        rest: text.as_bytes(),
    };
    cursor.date_time().ok_or_else(|| Error::Malformed {
        what: "time",
        detail: format!(
            "{:?} is not ISO-8601",
            text.chars().take(SHOWN).collect::<String>()
        ),
    })
}

const DAY_MS: i64 = 86_400_000;
/// How many characters of what is no time an error shows.
const SHOWN: usize = 60;

/// What is left of the text. Each reader returns `None` where the text is not what it must be.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl Cursor<'_> {
    fn date_time(&mut self) -> Option<IsoTime> {
        let days = self.date()?;
        if self.rest.is_empty() {
            return Some(IsoTime {
                unix_ms: days * DAY_MS,
                has_offset: false,
            });
        }
        // Any single character separates, as in dateutil; a date without a day has no time.
        let (separator, rest) = self.rest.split_first()?;
        if !separator.is_ascii() {
            return None;
        }
        self.rest = rest;
        let time_ms = self.time_ms()?;
        let offset_ms = if self.rest.is_empty() {
            None
        } else {
            Some(self.offset_ms()?)
        };
        Some(IsoTime {
            unix_ms: days * DAY_MS + time_ms - offset_ms.unwrap_or(0),
            has_offset: offset_ms.is_some(),
        })
    }

    /// Days since the epoch.
    fn date(&mut self) -> Option<i64> {
        let year = self.number(4).filter(|year| *year > 0)?;
        if self.rest.is_empty() {
            return Some(days_from_civil(year, 1, 1));
        }
        let after_year = self.rest;
        let has_dash = self.take(b'-');
        // dateutil tries month and day first; only a form that cannot be one is a week or ordinal.
        if let Some((month, day)) = self.month_and_day(has_dash) {
            let is_date = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
            return is_date.then(|| days_from_civil(year, month, day));
        }
        self.rest = after_year;
        self.take(b'-');
        if self.take(b'W') {
            self.week_date(year, has_dash)
        } else {
            self.ordinal_date(year)
        }
    }

    fn month_and_day(&mut self, has_dash: bool) -> Option<(i64, i64)> {
        let month = self.number(2)?;
        if self.rest.is_empty() {
            return has_dash.then_some((month, 1));
        }
        if has_dash && !self.take(b'-') {
            return None;
        }
        Some((month, self.number(2)?))
    }

    fn ordinal_date(&mut self, year: i64) -> Option<i64> {
        let days = if is_leap(year) { 366 } else { 365 };
        let ordinal = self.number(3).filter(|ordinal| (1..=days).contains(ordinal))?;
        Some(days_from_civil(year, 1, 1) + ordinal - 1)
    }

    fn week_date(&mut self, year: i64, has_dash: bool) -> Option<i64> {
        let week = self.number(2).filter(|week| (1..=53).contains(week))?;
        let mut day = 1;
        if !self.rest.is_empty() {
            if self.take(b'-') != has_dash {
                return None;
            }
            day = self.number(1).filter(|day| (1..=7).contains(day))?;
        }
        // ISO week 1 is the one with 4 January.
        let fourth = days_from_civil(year, 1, 4);
        let monday = fourth - (fourth + 3).rem_euclid(7);
        Some(monday + (week - 1) * 7 + day - 1)
    }

    fn time_ms(&mut self) -> Option<i64> {
        // Compat: dateutil takes a zone without a time for midnight, but for a lone "Z".
        if matches!(self.rest, [b'+' | b'-', _, ..]) {
            return Some(0);
        }
        let hour = self.number(2).filter(|hour| *hour <= 24)?;
        let has_colon = self.take(b':');
        let mut minute = 0;
        let (mut second, mut fraction_ms) = (0, 0);
        if self.at_component(has_colon) {
            minute = self.number(2).filter(|minute| *minute < 60)?;
            if has_colon && self.at_component(false) {
                return None;
            }
            let has_second_colon = has_colon && self.take(b':');
            if self.at_component(has_second_colon) {
                second = self.number(2).filter(|second| *second < 60)?;
                fraction_ms = self.fraction_ms()?;
            }
        }
        let is_midnight = (minute, second, fraction_ms) == (0, 0, 0);
        (hour < 24 || is_midnight).then_some(((hour * 60 + minute) * 60 + second) * 1000 + fraction_ms)
    }

    /// Whether digits follow, or must follow because a colon was taken.
    fn at_component(&self, took_colon: bool) -> bool {
        took_colon || self.rest.first().is_some_and(u8::is_ascii_digit)
    }

    /// Milliseconds, rounded up.
    fn fraction_ms(&mut self) -> Option<i64> {
        if !self.take(b'.') && !self.take(b',') {
            return Some(0);
        }
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (fraction, rest) = self.rest.split_at(digits);
        self.rest = rest;
        if fraction.is_empty() {
            return None;
        }
        let value = |digits: &[u8], width: usize| {
            (0..width).fold(0, |value, place| {
                value * 10 + digits.get(place).map_or(0, |digit| i64::from(digit - b'0'))
            })
        };
        let has_more = fraction.iter().skip(3).any(|digit| *digit != b'0');
        Some(value(fraction, 3) + i64::from(has_more))
    }

    fn offset_ms(&mut self) -> Option<i64> {
        if self.rest == b"Z" || self.rest == b"z" {
            return Some(0);
        }
        let sign = match self.rest.first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        self.rest = &self.rest[1..];
        let hours = self.number(2).filter(|hours| *hours < 24)?;
        let mut minutes = 0;
        if !self.rest.is_empty() {
            self.take(b':');
            minutes = self.number(2).filter(|minutes| *minutes < 60)?;
        }
        self.rest
            .is_empty()
            .then_some(sign * (hours * 60 + minutes) * 60_000)
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.rest.first() == Some(&byte);
        if is_next {
            self.rest = &self.rest[1..];
        }
        is_next
    }

    fn number(&mut self, digits: usize) -> Option<i64> {
        let (number, rest) = self.rest.split_at_checked(digits)?;
        if !number.iter().all(u8::is_ascii_digit) {
            return None;
        }
        self.rest = rest;
        Some(
            number
                .iter()
                .fold(0, |value, digit| value * 10 + i64::from(digit - b'0')),
        )
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days between the epoch and a date of the Gregorian calendar.
///
/// Years begin in March here, so that the leap day is the last of its year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix_ms(text: &str) -> Option<i64> {
        parse_iso(text).ok().map(|time| time.unix_ms)
    }

    #[test]
    fn celery_writes_an_offset_and_up_to_six_digits() {
        let time = parse_iso("2026-11-22T07:46:13.793443+01:00").unwrap();
        assert_eq!(time.unix_ms, 1_795_329_973_794);
        assert!(time.has_offset);
    }

    #[test]
    fn a_naive_time_is_read_as_if_in_utc_and_says_so() {
        let time = parse_iso("2030-01-01T12:00:00").unwrap();
        assert_eq!((time.unix_ms, time.has_offset), (1_893_499_200_000, false));
    }

    #[test]
    fn a_fraction_of_a_millisecond_rounds_up() {
        assert_eq!(unix_ms("1970-01-01T00:00:00.001Z"), Some(1));
        assert_eq!(unix_ms("1970-01-01T00:00:00.001000001Z"), Some(2));
        assert_eq!(unix_ms("1970-01-01T00:00:00.9999Z"), Some(1000));
    }

    #[test]
    fn the_same_moment_has_many_spellings() {
        for text in [
            "2024-02-29T12:30:00Z",
            "20240229T123000Z",
            "2024-02-29 12:30Z",
            "2024-060T1330+01",
            "2024-W09-4T12:30:00,000+0000",
        ] {
            assert_eq!(unix_ms(text), Some(1_709_209_800_000), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_malformed() {
        for text in [
            "",
            "soon",
            "2024-13-01",
            "2023-02-29",
            "2024-01-01T",
            "2024-01-01T25:00",
            "2024-01-01T10:60",
            "2024-01-01T10:00:00.",
            "2024-01-01T10:00:00+1",
            "2024-01-01T10:00:00Zjunk",
            "2024-01-01T24:00:01",
            "1700000000.5",
            "2024-01-01T10:3045",
            "é024-01-01",
        ] {
            assert_eq!(unix_ms(text), None, "{text}");
        }
    }
}
