//! Points in time: tag 0 with a text, tag 1 with seconds.

use jiff::Timestamp;

use super::{Item, tag};

/// A date of so many milliseconds since 1970.
pub fn moment(ms: f64) -> Item {
    let seconds = ms / 1_000.0;
    let whole = seconds.fract() == 0.0 && seconds.abs() < 9e15;
    let number = if whole { Item::Int(seconds as i128) } else { Item::Float(seconds) };
    Item::tagged(tag::DATE_SECONDS, number)
}

/// The milliseconds since 1970 of a date; None if the item is none.
pub fn millis(item: &Item) -> Option<f64> {
    let Item::Tag(kind, inner) = item else { return None };
    match (*kind, &**inner) {
        (tag::DATE_SECONDS, Item::Int(seconds)) => Some(*seconds as f64 * 1_000.0),
        // To the microsecond: the product of a fraction is not exact.
        (tag::DATE_SECONDS, Item::Float(seconds)) => Some((seconds * 1e6).round() / 1e3),
        (tag::DATE_TEXT, Item::Text(text)) => {
            let moment: Timestamp = text.parse().ok()?;
            Some(moment.as_microsecond() as f64 / 1_000.0)
        }
        _ => None,
    }
}

/// A date as RFC 3339 in UTC; one beyond the years that it can show as its milliseconds.
pub fn text(item: &Item) -> Option<String> {
    let ms = millis(item)?;
    let shown = Timestamp::from_microsecond((ms * 1_000.0) as i64).ok().filter(|_| ms.abs() < 9e15);
    Some(shown.map_or_else(|| format!("{ms} ms"), |moment| moment.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_in_all_their_forms() {
        for (item, ms, shown) in [
            (moment(0.0), 0.0, "1970-01-01T00:00:00Z"),
            (moment(1_700_000_000_123.0), 1_700_000_000_123.0, "2023-11-14T22:13:20.123Z"),
            (
                Item::tagged(0, Item::Text("2024-02-29T12:00:00+02:00".into())),
                1_709_200_800_000.0,
                "2024-02-29T10:00:00Z",
            ),
            (moment(1e15), 1e15, "1000000000000000 ms"),
        ] {
            assert_eq!((millis(&item), text(&item).as_deref()), (Some(ms), Some(shown)));
        }
        for item in [
            Item::tagged(0, Item::Text("yesterday".into())),
            Item::tagged(1, Item::Text("1".into())),
            Item::Int(5),
        ] {
            assert_eq!(millis(&item), None);
        }
    }
}
