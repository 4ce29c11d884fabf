//! Pairs of measurements as rows of a table: medians, ratios pair by pair, memory over the weights.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// One measurement of each side, made one behind the other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// Milliseconds of the median repetition.
    pub ours_ms: f64,
    pub peer_ms: f64,
    /// Peak memory above what there was before the work, over the weights; `None` for work without weights.
    pub ours_memory: Option<f64>,
    pub peer_memory: Option<f64>,
}

/// All pairs of one method.
#[derive(Debug)]
pub struct Row {
    pub work: String,
    pub method: String,
    pub pairs: Vec<Pair>,
}

impl Pair {
    /// From the lines that both sides print.
    pub fn new(ours: &Value, peer: &Value) -> Result<Self> {
        let number = |line: &Value, field: &str| {
            let number = line[field].as_f64();
            number.with_context(|| format!("a measurement has no `{field}`: {line}"))
        };
        let memory = |line: &Value| -> Result<Option<f64>> {
            let weights = number(line, "weights_bytes")?;
            // Resident memory on both sides: PyTorch tells no other.
            let resident = line["resident_bytes"].as_f64();
            Ok(resident.filter(|_| weights > 0.0).map(|bytes| bytes / weights))
        };
        Ok(Self {
            ours_ms: number(ours, "median_ms")?,
            peer_ms: number(peer, "median_ms")?,
            ours_memory: memory(ours)?,
            peer_memory: memory(peer)?,
        })
    }

    fn ratio(&self) -> f64 {
        self.ours_ms / self.peer_ms
    }
}

impl Row {
    /// One line for the terminal.
    pub fn in_words(&self) -> String {
        format!(
            "  ours {}, PyTorch {}, ratio {}",
            milliseconds(self.values(|pair| pair.ours_ms)),
            milliseconds(self.values(|pair| pair.peer_ms)),
            spread(self.values(Pair::ratio), 2)
        )
    }

    fn values(&self, of: impl Fn(&Pair) -> f64) -> Vec<f64> {
        self.pairs.iter().map(of).collect()
    }

    /// The largest of all pairs.
    fn memory(&self, of: impl Fn(&Pair) -> Option<f64>) -> String {
        let largest = self.pairs.iter().filter_map(of).reduce(f64::max);
        largest.map_or_else(|| "-".to_owned(), |times| format!("{times:.2}"))
    }
}

/// The table of all rows.
pub fn markdown(rows: &[Row]) -> String {
    let mut table = String::from(
        "| work | method | ours, ms | PyTorch, ms | ours / PyTorch | resident over the weights: ours | PyTorch |\n\
         |---|---|---:|---:|---:|---:|---:|\n",
    );
    for row in rows {
        writeln!(
            table,
            "| {} | {} | {} | {} | {} | {} | {} |",
            row.work,
            row.method,
            milliseconds(row.values(|pair| pair.ours_ms)),
            milliseconds(row.values(|pair| pair.peer_ms)),
            spread(row.values(Pair::ratio), 2),
            row.memory(|pair| pair.ours_memory),
            row.memory(|pair| pair.peer_memory),
        )
        .expect("writing to a string cannot fail");
    }
    table
}

fn milliseconds(values: Vec<f64>) -> String {
    let digits = if values.iter().any(|value| *value < 10.0) {
        2
    } else {
        0
    };
    spread(values, digits)
}

/// The median, and the smallest and largest where there are several.
fn spread(mut values: Vec<f64>, digits: usize) -> String {
    values.sort_by(f64::total_cmp);
    match values.as_slice() {
        [] => "-".to_owned(),
        [one] => format!("{one:.digits$}"),
        [least, .., most] => format!(
            "{:.digits$} ({least:.digits$} to {most:.digits$})",
            values[values.len() / 2]
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(ours_ms: f64, peer_ms: f64) -> Pair {
        Pair {
            ours_ms,
            peer_ms,
            ours_memory: Some(2.0),
            peer_memory: None,
        }
    }

    #[test]
    fn ratios_are_made_pair_by_pair() {
        let row = Row {
            work: "tiny".to_owned(),
            method: "adamw".to_owned(),
            pairs: vec![pair(100.0, 200.0), pair(300.0, 200.0), pair(150.0, 200.0)],
        };
        let table = markdown(&[row]);
        assert!(
            table.ends_with(
                "| tiny | adamw | 150 (100 to 300) | 200 (200 to 200) | 0.75 (0.50 to 1.50) | 2.00 | - |\n"
            ),
            "{table}"
        );
    }

    #[test]
    fn a_line_without_a_figure_is_told() {
        let whole = serde_json::json!({"median_ms": 1.0, "weights_bytes": 4, "resident_bytes": 8});
        let torn = serde_json::json!({"weights_bytes": 4});
        assert_eq!(Pair::new(&whole, &whole).unwrap().peer_memory, Some(2.0));
        let message = Pair::new(&whole, &torn).unwrap_err().to_string();
        assert!(message.contains("median_ms"), "{message}");
    }
}
