//! What a call says, as Stripe reads it: `line_items[0][price]=price_1&mode=subscription`.

use form_urlencoded::Serializer;

/// Fields of a call, in their order.
#[derive(Clone, Default, Debug)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn with(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.0.push((name.into(), value.to_string()));
        self
    }

    /// Left out where there is none.
    pub(crate) fn with_any(self, name: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    pub(crate) fn encoded(&self) -> String {
        let mut encoded = Serializer::new(String::new());
        encoded.extend_pairs(&self.0);
        encoded.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_told_in_their_order_and_escaped() {
        let form = Form::new()
            .with("line_items[0][price]", "price_1")
            .with("line_items[0][quantity]", 1)
            .with_any("name", Some("Ada & Söhne"))
            .with_any("email", None::<&str>);
        assert_eq!(
            form.encoded(),
            "line_items%5B0%5D%5Bprice%5D=price_1&line_items%5B0%5D%5Bquantity%5D=1&name=Ada+%26+S%C3%B6hne"
        );
    }
}
