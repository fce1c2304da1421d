//! What holds for every value and for every input.

use bytes::Bytes;
use celeriac_core::Error;
use celeriac_core::wire::headers::Peek;
use celeriac_core::wire::message::{Message, Outgoing, Properties, Target};
use celeriac_core::wire::template::{Call, Task, Template};
use celeriac_core::wire::times::parse_iso;
use celeriac_core::wire::{body, envelope, protocol1, result_meta};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::value::{Value, from_json, from_msgpack, to_json, to_msgpack};

fn scalars() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (u64::MAX / 2 + 1..).prop_map(Value::Unsigned),
        // Any bit pattern but NaN, which equals nothing.
        any::<u64>()
            .prop_map(f64::from_bits)
            .prop_filter("a number", |value| !value.is_nan())
            .prop_map(Value::Float),
        any::<String>().prop_map(Value::Text),
        "[\\x00-\\x7f]{0,40}".prop_map(Value::Text),
    ]
}

/// `serde_json` reads floats a few units in the last place off.
fn without_floats() -> impl Strategy<Value = Value> {
    scalars().prop_filter("exact elsewhere", |value| !matches!(value, Value::Float(_)))
}

/// Trees of lists and of maps whose keys are text.
fn values(leaf: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Value> {
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::List),
            vec((any::<String>().prop_map(Value::Text), inner), 0..6).prop_map(Value::Map),
        ]
    })
}

/// Integers beyond 64 bits and text with lone surrogates, which only JSON carries.
fn json_only() -> impl Strategy<Value = Value> {
    prop_oneof![
        "-?[1-9][0-9]{20,60}".prop_map(Value::Big),
        (any::<String>(), 0xA0..=0xBF_u8, 0x80..=0xBF_u8, "[a-z]*").prop_map(
            |(head, second, third, tail)| {
                Value::Bytes([head.as_bytes(), &[0xED, second, third], tail.as_bytes()].concat())
            }
        ),
    ]
}

fn properties() -> impl Strategy<Value = Properties> {
    (
        any::<Option<String>>(),
        any::<Option<String>>(),
        any::<u8>(),
        any::<u8>(),
        proptest::option::of("[0-9]{1,9}"),
        any::<String>(),
    )
        .prop_map(
            |(correlation_id, reply_to, mode, priority, expiration, tag)| Properties {
                content_type: "application/json".to_owned(),
                content_encoding: "utf-8".to_owned(),
                correlation_id,
                reply_to,
                delivery_mode: mode,
                priority: Some(priority),
                expiration,
                delivery_tag: tag,
                extra: vec![("mine".to_owned(), "[1, null]".to_owned())],
            },
        )
}

proptest! {
    #[test]
    fn json_reads_back_what_it_wrote(value in values(prop_oneof![4 => scalars(), 1 => json_only()])) {
        let text = to_json(&value).unwrap();
        prop_assert!(text.is_ascii());
        prop_assert_eq!(from_json(&text).unwrap(), value);
    }

    #[test]
    fn another_json_parser_reads_the_same(value in values(without_floats())) {
        let theirs: serde_json::Value = serde_json::from_slice(&to_json(&value).unwrap()).unwrap();
        let ours = from_json(serde_json::to_string(&theirs).unwrap().as_bytes()).unwrap();
        let again: serde_json::Value = serde_json::from_slice(&to_json(&ours).unwrap()).unwrap();
        prop_assert_eq!(again, theirs);
    }

    #[test]
    fn msgpack_reads_back_what_it_wrote(value in values(prop_oneof![scalars(), any::<Vec<u8>>().prop_map(Value::Bytes)])) {
        prop_assert_eq!(from_msgpack(&to_msgpack(&value).unwrap()).unwrap(), value);
    }

    #[test]
    fn msgpack_refuses_what_python_refuses(value in json_only()) {
        // Text with lone surrogates is bytes to MessagePack, so only integers are refused here.
        let is_big = matches!(value, Value::Big(_));
        prop_assert_eq!(to_msgpack(&value).is_err(), is_big);
    }

    #[test]
    fn no_decoder_panics_on_any_bytes(data in any::<Vec<u8>>()) {
        // Each answers, and an error says that the input is to blame.
        for outcome in [
            from_json(&data).map(drop),
            from_msgpack(&data).map(drop),
            envelope::decode(&data).map(drop),
            envelope::mark_redelivered(&data).map(drop),
            Peek::parse(&data).map(drop),
            body::split(&data).map(drop),
            protocol1::headers(&data, b"{}").map(drop),
            result_meta::status(&data).map(drop),
        ] {
            prop_assert!(is_answered(&outcome));
        }
    }

    #[test]
    fn no_decoder_panics_on_nearly_json(text in "[\\[\\]{}:,\"\\\\ud8Na0-9.eE+\\- tn]{0,60}") {
        let data = text.as_bytes();
        let decoded = from_json(data);
        prop_assert_eq!(decoded.is_ok(), body_of_one_skips(data));
        prop_assert!(is_answered(&envelope::decode(data)));
        prop_assert!(is_answered(&Peek::parse(data)));
        let headers = protocol1::headers(data, b"{}");
        prop_assert!(is_answered(&headers));
        prop_assert!(is_answered(&parse_iso(&text)));
    }

    #[test]
    fn an_envelope_decodes_to_what_was_encoded(
        properties in properties(), body in any::<Vec<u8>>(), exchange: String, routing_key: String,
    ) {
        let outgoing = Outgoing {
            message: Message { headers: Bytes::from_static(b"{\"task\": \"t\"}"), properties, body: body.into() },
            target: Target { exchange, routing_key },
            mandatory: None,
        };
        let decoded = envelope::decode(&envelope::encode(&outgoing)).unwrap();
        prop_assert!(!decoded.redelivered);
        prop_assert_eq!(Outgoing { message: decoded.message, target: decoded.target, mandatory: None }, outgoing);
    }

    #[test]
    fn a_built_message_peeks_as_it_was_called(
        task_id: String, eta: Option<String>, retries: u32, name in "[a-z.]{1,20}", extra in "[a-z]{25}",
    ) {
        prop_assume!(!task_id.is_empty() && eta.as_deref() != Some(""));
        let headers = [(extra, "{\"id\": \"other\"}".to_owned())];
        let call = Call {
            task_id: Some(&task_id), eta: eta.as_deref(), retries: Some(retries), extra_headers: &headers,
            ..Call::default()
        };
        let built = Template::new(task(&name)).build(&call, Bytes::new(), "()", "{}");
        let peek = Peek::parse(&built.message.headers).unwrap();
        prop_assert_eq!(peek.task, Some(name));
        prop_assert_eq!(peek.id.as_ref(), Some(&task_id));
        prop_assert_eq!((peek.eta, peek.retries), (eta, retries));
        prop_assert_eq!(built.message.properties.correlation_id, Some(task_id));
    }

    #[test]
    fn times_written_as_celery_writes_them_are_read(
        unix_us in -2_000_000_000_000_000_i64..9_000_000_000_000_000, offset_minutes in -720_i64..720,
    ) {
        let text = isoformat(unix_us, offset_minutes);
        let time = parse_iso(&text).unwrap();
        prop_assert!(time.has_offset);
        prop_assert_eq!(time.unix_ms, unix_us.div_euclid(1000) + i64::from(unix_us % 1000 != 0), "{}", text);
    }
}

/// Either a value, or an error that blames the input.
pub(crate) fn is_answered<T>(outcome: &celeriac_core::Result<T>) -> bool {
    matches!(outcome, Ok(_) | Err(Error::Malformed { .. }))
}

/// Whether skipping a value, which is a second implementation, accepts what decoding accepts.
fn body_of_one_skips(data: &[u8]) -> bool {
    let wrapped = [b"[", data, b", 0, 0]"].concat();
    body::split(&wrapped).is_ok_and(|parts| parts.kwargs == b"0" && parts.args.len() <= data.len())
}

fn task(name: &str) -> Task {
    Task {
        name: name.to_owned(),
        shadow: None,
        timelimit: "[null, null]".to_owned(),
        origin: "gen1@host".to_owned(),
        ignore_result: Some(false),
        content_type: "application/json".to_owned(),
        content_encoding: "utf-8".to_owned(),
        reply_to: None,
        delivery_mode: 2,
        priority: None,
        target: Target::default(),
        compression: None,
        headers: Vec::new(),
    }
}

/// Python's `datetime.isoformat()`, by counting days one month at a time: slow, and unlike the
/// reader's arithmetic.
fn isoformat(unix_us: i64, offset_minutes: i64) -> String {
    let local_us = unix_us + offset_minutes * 60_000_000;
    let (mut days, us) = (
        local_us.div_euclid(86_400_000_000),
        local_us.rem_euclid(86_400_000_000),
    );
    let (mut year, mut month) = (1970, 1);
    while days < 0 {
        (year, month) = if month == 1 {
            (year - 1, 12)
        } else {
            (year, month - 1)
        };
        days += month_days(year, month);
    }
    while days >= month_days(year, month) {
        days -= month_days(year, month);
        (year, month) = if month == 12 {
            (year + 1, 1)
        } else {
            (year, month + 1)
        };
    }
    let (seconds, fraction) = (us / 1_000_000, us % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let sign = if offset_minutes < 0 { '-' } else { '+' };
    let (offset_h, offset_m) = (offset_minutes.abs() / 60, offset_minutes.abs() % 60);
    let fraction = if fraction == 0 {
        String::new()
    } else {
        format!(".{fraction:06}")
    };
    let day = days + 1;
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{sign}{offset_h:02}:{offset_m:02}"
    )
}

fn month_days(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 400 == 0 || (year % 4 == 0 && year % 100 != 0) => 29,
        2 => 28,
        _ => 31,
    }
}
