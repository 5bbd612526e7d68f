//! What a tenant has used of its days, and its plan.

use accounts::UnixSecs;
use askama::Template;
use axum::extract::Path;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};

use crate::api::Ask;
use crate::frame::{Frame, page};
use crate::respond::Trouble;
use crate::told::{Day, Series, Today, Usage};
use crate::visit::Visit;
use crate::words::{grouped, now};

/// Height of the chart, in its own units, and width of a day.
const HEIGHT: u64 = 160;
const WIDTH: u64 = 20;
/// Days that the chart has room for. What is before the first is empty.
const DAYS: u64 = 35;

/// A day, as a bar.
struct Bar {
    x: u64,
    y: u64,
    height: u64,
    day: Day,
}

impl Bar {
    /// `2026-11-21: 1 234 requests, 5 denied`
    fn tells(&self) -> String {
        let Day {
            day,
            requests,
            denied,
        } = &self.day;
        format!(
            "{day}: {} requests, {} denied",
            grouped(*requests),
            grouped(*denied)
        )
    }
}

#[derive(Template)]
#[template(path = "usage.html")]
struct Page {
    frame: Frame,
    today: Today,
    bars: Vec<Bar>,
    /// Where the line of the cap is, unless it is far above everything.
    cap_y: Option<u64>,
    total: String,
    /// What limits have decided in these days.
    series: Series,
    id: String,
}

impl Page {
    fn newest_first(&self) -> impl Iterator<Item = &Bar> {
        self.bars.iter().rev()
    }

    fn width(&self) -> u64 {
        (self.bars.len() as u64).max(DAYS) * WIDTH
    }
}

/// Bars of these days, the highest as high as the chart, and where the line of the cap is.
fn bars(days: Vec<Day>, cap: Option<u64>) -> (Vec<Bar>, Option<u64>) {
    let most = days.iter().map(|day| day.requests).max().unwrap_or(0);
    // A cap that is far away would make bars of nothing.
    let cap = cap.filter(|cap| *cap <= most.saturating_mul(4));
    let top = most.max(cap.unwrap_or(0)).max(1);
    let height = |requests: u64| {
        let part = u128::from(requests) * u128::from(HEIGHT) / u128::from(top);
        let part = u64::try_from(part).expect("a part of the height");
        // What was counted can be seen.
        part.max(u64::from(0 < requests))
    };
    let first = DAYS.saturating_sub(days.len() as u64);
    let bars = days.into_iter().zip(first..).map(|(day, place)| {
        let x = place * WIDTH;
        let height = height(day.requests);
        let y = HEIGHT - height;
        Bar { x, y, height, day }
    });
    (bars.collect(), cap.map(|cap| HEIGHT - height(cap)))
}

/// Where the API tells the days of the chart.
fn path() -> String {
    let first = now().days().saturating_sub(DAYS - 1);
    format!("/v1/usage?from={}", UnixSecs::of_day(first).date())
}

/// `GET /dashboard/{tenant}/usage`
pub(crate) async fn usage(Path(id): Path<String>, visit: Visit) -> Result<Response, Trouble> {
    let seat = visit.seat(&id).await?;
    let Usage { today, days } = visit.told_in(&id, &path()).await?;
    let total = days.iter().map(|day| day.requests).sum();
    let (bars, cap_y) = bars(days, today.cap);
    let series = visit.told_in(&id, "/v1/series?window=35d").await?;
    let usage = Page {
        frame: Frame::in_tenant(&visit, seat, "usage", "Usage"),
        today,
        bars,
        cap_y,
        total: grouped(total),
        series,
        id,
    };
    Ok(page(&usage.frame, &usage))
}

/// `GET /dashboard/{tenant}/usage.csv`
pub(crate) async fn csv(Path(id): Path<String>, visit: Visit) -> Result<Response, Trouble> {
    visit.seat(&id).await?;
    let ask = Ask {
        tenant: Some(&id),
        accept: Some("text/csv"),
        ..Ask::get(path())
    };
    let mut response = visit.ask(ask).await?.body.into_response();
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/csv; charset=utf-8");
    headers.insert(CONTENT_TYPE, kind);
    let file = HeaderValue::from_static("attachment; filename=\"usage.csv\"");
    headers.insert(CONTENT_DISPOSITION, file);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(requests: u64) -> Day {
        Day {
            day: "2026-11-21".to_owned(),
            requests,
            denied: 0,
        }
    }

    #[test]
    fn bars_are_as_high_as_their_days() {
        let of = |requests: &[u64], cap| {
            let (bars, line) = bars(requests.iter().copied().map(day).collect(), cap);
            let heights: Vec<u64> = bars.iter().map(|bar| bar.height).collect();
            assert!(bars.iter().all(|bar| bar.y + bar.height == HEIGHT));
            (heights, line)
        };
        assert_eq!(of(&[0, 1, 50, 100], None), (vec![0, 1, 80, 160], None));
        assert_eq!(of(&[50, 100], Some(200)), (vec![40, 80], Some(0)));
        assert_eq!(
            of(&[50, 100], Some(1_000)),
            (vec![80, 160], None),
            "far above"
        );
        assert_eq!(of(&[0, 0], Some(10)), (vec![0, 0], None));
        assert_eq!(of(&[u64::MAX], Some(1)).0, [160]);
    }
}
