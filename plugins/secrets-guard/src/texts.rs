//! Every text in a JSON document, without building the document: prompts have megabytes.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Hands every string to `told`, names of members included.
///
/// # Errors
/// It is no JSON; what was told of until then was.
pub(crate) fn each(json: &[u8], told: &mut impl FnMut(&str)) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    Texts(told).deserialize(&mut reader)?;
    reader.end()
}

struct Texts<'a, F>(&'a mut F);

impl<'de, F: FnMut(&str)> DeserializeSeed<'de> for Texts<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F: FnMut(&str)> Visitor<'de> for Texts<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        (self.0)(text);
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Texts(&mut *self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while members.next_key_seed(Texts(&mut *self.0))?.is_some() {
            members.next_value_seed(Texts(&mut *self.0))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(json: &str) -> (Vec<String>, bool) {
        let mut texts = Vec::new();
        let is_json = each(json.as_bytes(), &mut |text| texts.push(text.to_owned())).is_ok();
        (texts, is_json)
    }

    #[test]
    fn every_text_is_told_of_with_escapes_undone() {
        let json = r#"{"a": ["b\n", 1, -1, 1.5, null, true], "c": {"d": "\u00e9"}, "e": []}"#;

        assert_eq!(texts(json), (["a", "b\n", "c", "d", "é", "e"].map(str::to_owned).to_vec(), true));
    }

    #[test]
    fn what_comes_before_a_fault_is_told_of() {
        for (json, told) in [(r#"{"a": "b", "c"#, 2), (r#"["a"] "b""#, 1), ("plain", 0), ("", 0), (&"[".repeat(200), 0)] {
            let (texts, is_json) = texts(json);
            assert!(texts.len() == told && !is_json, "{json}: {texts:?}");
        }
    }
}
