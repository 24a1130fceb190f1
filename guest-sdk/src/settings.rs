//! A plugin's configuration: the JSON the host hands over, made into the type the plugin asks for.
//!
//! Place: asked by `export`. serde_json alone would do it, and name a line and a column of a text that nobody wrote. This names the key, as the
//! operator wrote it in TOML, and costs a component half as much: no number with a fraction is ever printed.

use std::{error, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{
        self, DeserializeOwned, DeserializeSeed, EnumAccess, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected, VariantAccess,
        Visitor, value::StringDeserializer,
    },
    forward_to_deserialize_any,
};

/// A configuration, which is an object.
///
/// # Errors
/// Names the key that is missing, that is too many or whose value is of another kind.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let setting: Setting = serde_json::from_str(text)
        .map_err(|error| format!("configuration: it is no JSON from line {} column {} on", error.line(), error.column()))?;
    T::deserialize(setting).map_err(|error| format!("configuration: {error}"))
}

/// A value that is still to be read. `serde_json::Value` would bring a hash table.
enum Setting {
    Null,
    Flag(bool),
    Unsigned(u64),
    Signed(i64),
    Fraction(f64),
    Text(String),
    List(Vec<Self>),
    Table(Vec<(String, Self)>),
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Whatever)
    }
}

/// Takes every kind that there is in JSON.
struct Whatever;

impl<'de> Visitor<'de> for Whatever {
    type Value = Setting;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Setting, E> {
        Ok(Setting::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Setting, E> {
        Ok(Setting::Flag(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Setting, E> {
        Ok(Setting::Unsigned(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Setting, E> {
        Ok(Setting::Signed(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Setting, E> {
        Ok(Setting::Fraction(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Setting, E> {
        Ok(Setting::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Setting, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(Setting::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Setting, A::Error> {
        let mut table = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            table.push(entry);
        }
        Ok(Setting::Table(table))
    }
}

impl<'de> Deserializer<'de> for Setting {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self {
            Self::Null => visitor.visit_unit(),
            Self::Flag(flag) => visitor.visit_bool(flag),
            Self::Unsigned(number) => visitor.visit_u64(number),
            Self::Signed(number) => visitor.visit_i64(number),
            Self::Fraction(number) => visitor.visit_f64(number),
            Self::Text(text) => visitor.visit_string(text),
            Self::List(elements) => {
                let mut list = List { rest: elements.into_iter(), at: 0 };
                let value = visitor.visit_seq(&mut list)?;
                if list.rest.len() == 0 { Ok(value) } else { Err(de::Error::invalid_length(list.at + list.rest.len(), &"fewer elements")) }
            }
            Self::Table(entries) => visitor.visit_map(Table { rest: entries.into_iter(), entry: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        if matches!(self, Self::Null) { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(self, _: &'static str, _: &'static [&'static str], visitor: V) -> Result<V::Value, Mismatch> {
        let one = match self {
            Self::Text(name) => return visitor.visit_enum(IntoDeserializer::<Mismatch>::into_deserializer(name)),
            Self::Table(mut entries) if entries.len() == 1 => entries.pop(),
            _ => None,
        };
        match one {
            Some((name, content)) => visitor.visit_enum(Choice { name, content }),
            None => Err(de::Error::custom("the name of a variant was expected, or a table with that name as its one key")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

/// The elements of an array.
struct List {
    rest: std::vec::IntoIter<Setting>,
    at: usize,
}

impl<'de> SeqAccess<'de> for &mut List {
    type Error = Mismatch;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Mismatch> {
        let Some(element) = self.rest.next() else { return Ok(None) };
        let at = self.at;
        self.at += 1;
        seed.deserialize(element).map(Some).map_err(|mismatch| mismatch.inside(&format!("[{at}]")))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// The entries of a table. Keys are text.
struct Table {
    rest: std::vec::IntoIter<(String, Setting)>,
    entry: Option<(String, Setting)>,
}

impl<'de> MapAccess<'de> for Table {
    type Error = Mismatch;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Mismatch> {
        let Some((key, value)) = self.rest.next() else { return Ok(None) };
        self.entry = Some((key.clone(), value));
        seed.deserialize(Key(key)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Mismatch> {
        let Some((key, value)) = self.entry.take() else { return Err(de::Error::custom("a value was asked for before its key")) };
        seed.deserialize(value).map_err(|mismatch| mismatch.inside(&key))
    }
}

/// A key. Where numbers are wanted, it is the digits of one.
struct Key(String);

macro_rules! digits {
    ($($method:ident $visit:ident $number:ty,)+) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
            match self.0.parse::<$number>() {
                Ok(number) => visitor.$visit(number),
                Err(_) => visitor.visit_string(self.0),
            }
        }
    )+};
}

impl<'de> Deserializer<'de> for Key {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_string(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(self, _: &'static str, _: &'static [&'static str], visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_enum(IntoDeserializer::<Mismatch>::into_deserializer(self.0))
    }

    digits! {
        deserialize_bool visit_bool bool,
        deserialize_i8 visit_i64 i64, deserialize_i16 visit_i64 i64, deserialize_i32 visit_i64 i64, deserialize_i64 visit_i64 i64,
        deserialize_u8 visit_u64 u64, deserialize_u16 visit_u64 u64, deserialize_u32 visit_u64 u64, deserialize_u64 visit_u64 u64,
    }

    forward_to_deserialize_any! {
        i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// A variant that carries something.
struct Choice {
    name: String,
    content: Setting,
}

impl<'de> EnumAccess<'de> for Choice {
    type Error = Mismatch;
    type Variant = Carried;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Carried), Mismatch> {
        let name: StringDeserializer<Mismatch> = self.name.clone().into_deserializer();
        Ok((seed.deserialize(name)?, Carried(self)))
    }
}

/// What a variant carries.
struct Carried(Choice);

impl Carried {
    fn read<T>(self, how: impl FnOnce(Setting) -> Result<T, Mismatch>) -> Result<T, Mismatch> {
        how(self.0.content).map_err(|mismatch| mismatch.inside(&self.0.name))
    }
}

impl<'de> VariantAccess<'de> for Carried {
    type Error = Mismatch;

    fn unit_variant(self) -> Result<(), Mismatch> {
        self.newtype_variant_seed(std::marker::PhantomData)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Mismatch> {
        self.read(|content| seed.deserialize(content))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Mismatch> {
        self.read(|content| content.deserialize_any(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Mismatch> {
        self.read(|content| content.deserialize_any(visitor))
    }
}

/// Why a configuration is not what the plugin takes, and where.
#[derive(Debug)]
struct Mismatch {
    /// `rules[2].host`; empty at the top.
    place: String,
    why: String,
}

impl Mismatch {
    /// The same, seen from one level further out.
    fn inside(mut self, part: &str) -> Self {
        if !self.place.is_empty() && !self.place.starts_with('[') {
            self.place.insert(0, '.');
        }
        self.place.insert_str(0, part);
        self
    }

    fn not(what: &str, found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Bool(flag) => format!("`{flag}`"),
            Unexpected::Unsigned(number) => format!("`{number}`"),
            Unexpected::Signed(number) => format!("`{number}`"),
            Unexpected::Str(text) => format!("\"{text}\""),
            Unexpected::Float(_) => "a number with a fraction".to_owned(),
            Unexpected::Unit => "null".to_owned(),
            Unexpected::Seq => "an array".to_owned(),
            Unexpected::Map => "a table".to_owned(),
            Unexpected::UnitVariant => "a name alone".to_owned(),
            Unexpected::Other(what) => what.to_owned(),
            _ => "something else".to_owned(),
        };
        de::Error::custom(format_args!("invalid {what}: {found}, expected {expected}"))
    }
}

impl de::Error for Mismatch {
    fn custom<T: fmt::Display>(why: T) -> Self {
        Self { place: String::new(), why: why.to_string() }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::not("type", found, expected)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::not("value", found, expected)
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "`{}`: ", self.place)?;
        }
        f.write_str(&self.why)
    }
}

impl error::Error for Mismatch {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Config {
        label: Option<String>,
        limit: u8,
        share: f64,
        less: i32,
        pairs: Vec<(u16, bool)>,
        ways: Vec<Way>,
        numbered: BTreeMap<u32, Wrapped>,
        any: Value,
        letter: Option<char>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Way {
        Plain,
        Of(u8),
        Two(u8, u8),
        Named { host: String },
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Wrapped(bool);

    /// serde_json's reading of the same text is the measure.
    #[test]
    fn everything_is_read_as_serde_json_reads_it() {
        let text = r#"{"label": "a\u00fc", "limit": 7, "share": 0.25, "less": -3, "pairs": [[1, true], [2, false]], "letter": "x",
            "ways": ["plain", {"of": 1}, {"two": [1, 2]}, {"named": {"host": "a.test"}}, {"plain": null}],
            "numbered": {"7": true, "4294967295": false}, "any": {"z": [1, -1, 1.5, null, "t"], "a": {}}}"#;

        let config: Config = read(text).unwrap();

        assert_eq!(config, serde_json::from_str::<Config>(text).unwrap());
        assert_eq!((config.ways.len(), config.any["z"][2].as_f64()), (5, Some(1.5)));
        assert_eq!(read::<Config>(r#"{"label": null}"#).unwrap(), Config::default());
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_key() {
        let told = [
            (r#"{"limit": "many"}"#, "`limit`: invalid type: \"many\", expected u8"),
            (r#"{"limit": 300}"#, "`limit`: invalid value: `300`, expected u8"),
            (r#"{"limit": 1.5}"#, "`limit`: invalid type: a number with a fraction, expected u8"),
            (r#"{"label": ["a"]}"#, "`label`: invalid type: an array, expected a string"),
            (r#"{"labl": "a"}"#, "unknown field `labl`, expected one of"),
            (r#"{"pairs": [[1, true], [2, 3]]}"#, "`pairs[1][1]`: invalid type: `3`, expected a boolean"),
            (r#"{"pairs": [[1, true, 3]]}"#, "`pairs[0]`: invalid length 3, expected fewer elements"),
            (r#"{"ways": [{"named": {"host": null}}]}"#, "`ways[0].named.host`: invalid type: null, expected a string"),
            (r#"{"ways": [{"named": {}}]}"#, "`ways[0].named`: missing field `host`"),
            (r#"{"ways": ["plane"]}"#, "`ways[0]`: unknown variant `plane`"),
            (r#"{"ways": ["of"]}"#, "`ways[0]`: invalid type: a name alone, expected newtype variant"),
            (r#"{"ways": [{"plain": 1}]}"#, "`ways[0].plain`: invalid type: `1`, expected unit"),
            (r#"{"ways": [7]}"#, "`ways[0]`: the name of a variant was expected"),
            (r#"{"numbered": {"seven": true}}"#, "`numbered`: invalid type: \"seven\", expected u32"),
            ("{\n\"limit\" 1}", "it is no JSON from line 2 column 9 on"),
        ];
        for (text, why) in told {
            let error = read::<Config>(text).map(|config| format!("{config:?}")).unwrap_or_else(|error| error);
            assert!(error.starts_with(&format!("configuration: {why}")), "{text}: {error}");
        }
    }
}
