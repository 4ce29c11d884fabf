//! `strftime_now` of chat templates on a day that does not change, so that the same data give the same tokens tomorrow.

use serde::{Deserialize, Serialize};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// A day of the Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedDate {
    /// The year, 1 to 9999.
    pub year: u16,
    /// The month, 1 to 12.
    pub month: u8,
    /// The day of the month, 1 to 31.
    pub day: u8,
}

impl Default for FixedDate {
    /// 26 July 2024: the day that Llama 3's templates name where no clock is given.
    fn default() -> Self {
        Self {
            year: 2024,
            month: 7,
            day: 26,
        }
    }
}

impl FixedDate {
    /// The date at midnight in C's `strftime` form: `%Y %y %m %d %e %B %b %h %A %a %j %H %I %M %S %p %F %T %%`, and `%-` for no
    /// padding. The error names a sign that is none of these.
    ///
    /// # Errors
    /// A sign that is not known.
    pub fn format(self, form: &str) -> Result<String, String> {
        let mut text = String::with_capacity(form.len() + 16);
        let mut signs = form.chars();
        while let Some(sign) = signs.next() {
            if sign != '%' {
                text.push(sign);
                continue;
            }
            let mut code = signs.next();
            let is_bare = code == Some('-');
            if is_bare {
                code = signs.next();
            }
            let part = self.part(code);
            let part =
                part.ok_or_else(|| format!("`%{}` of strftime is not known", code.unwrap_or_default()))?;
            let bare = part.trim_start_matches(['0', ' ']);
            text.push_str(match (is_bare, bare) {
                (false, _) => &part,
                (true, "") => "0",
                (true, bare) => bare,
            });
        }
        Ok(text)
    }

    fn part(self, code: Option<char>) -> Option<String> {
        let Self { year, month, day } = self;
        let month_name = MONTHS[usize::from(month.clamp(1, 12)) - 1];
        let day_name = DAYS[self.weekday()];
        Some(match code? {
            'Y' => format!("{year:04}"),
            'y' => format!("{:02}", year % 100),
            'm' => format!("{month:02}"),
            'd' => format!("{day:02}"),
            'e' => format!("{day:2}"),
            'B' => month_name.to_owned(),
            'b' | 'h' => month_name[..3].to_owned(),
            'A' => day_name.to_owned(),
            'a' => day_name[..3].to_owned(),
            'j' => format!("{:03}", self.day_of_year()),
            'F' => format!("{year:04}-{month:02}-{day:02}"),
            'H' | 'M' | 'S' => "00".to_owned(),
            'I' => "12".to_owned(),
            'p' => "AM".to_owned(),
            'T' => "00:00:00".to_owned(),
            '%' => "%".to_owned(),
            _ => return None,
        })
    }

    fn day_of_year(self) -> u32 {
        let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let leap =
            self.year.is_multiple_of(4) && (!self.year.is_multiple_of(100) || self.year.is_multiple_of(400));
        before[usize::from(self.month.clamp(1, 12)) - 1]
            + u32::from(self.day)
            + u32::from(leap && self.month > 2)
    }

    /// Sunday is 0.
    fn weekday(self) -> usize {
        let years = u32::from(self.year.max(1)) - 1;
        let days = years * 365 + years / 4 - years / 100 + years / 400 + self.day_of_year();
        (days % 7) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_read_as_c_writes_them() {
        let date = FixedDate::default();
        assert_eq!(date.format("%d %b %Y").unwrap(), "26 Jul 2024");
        assert_eq!(
            date.format("%A, %B %-d; %F %j %%").unwrap(),
            "Friday, July 26; 2024-07-26 208 %"
        );
        let first = FixedDate {
            year: 2000,
            month: 3,
            day: 1,
        };
        assert_eq!(first.format("%a %-d.%-m.%y %j %-H").unwrap(), "Wed 1.3.00 061 0");
        assert!(date.format("%Q").unwrap_err().contains("%Q"));
        assert!(date.format("100%").is_err());
    }
}
