//! What the plain messages of a template share, cut where they differ: a plain message is nine
//! copies and what stands between them.

use super::envelope;
use super::template::{Call, Plain, Repr, Template};
use crate::codec::json::append_str;
use crate::ids;

/// How many places of a plain message are its own.
const GAPS: usize = 8;

/// The bytes around the places of a plain message that are its own.
#[derive(Clone, Debug)]
pub(super) struct Mould {
    /// Up to the body, which is not in quotes of its own.
    start: Vec<u8>,
    /// Before each of these: id, group, root, both reprs, correlation, replies, delivery tag.
    pieces: [Vec<u8>; GAPS],
    bytes: usize,
}

impl Mould {
    /// Cuts a message of a template; `None` where custom headers take the place of one of the parts.
    pub(super) fn of(template: &Template) -> Option<Self> {
        // Nothing else in a message is like these.
        let marks: [String; GAPS] = std::array::from_fn(|_| ids::fresh_text());
        let [id, group, root, args, kwargs, correlation, replies, tag] = marks.each_ref().map(String::as_str);
        let call = Call {
            group: Some(group),
            root_id: Some(root),
            correlation_id: Some(correlation),
            reply_to: Some(replies),
            delivery_tag: Some(tag),
            ..Call::default()
        };
        let cast = template.seal(&call, id, b"", (Repr::Text(args), Repr::Text(kwargs)));
        let (start, mut rest) = cast.envelope.split_at_checked(envelope::BODY_AT)?;
        let mut pieces: [Vec<u8>; GAPS] = Default::default();
        for (mark, piece) in marks.iter().zip(&mut pieces) {
            let quoted = format!("\"{mark}\"");
            let gap = if mark == group { quoted + NO_INDEX } else { quoted };
            let at = rest
                .windows(gap.len())
                .position(|found| found == gap.as_bytes())?;
            piece.extend_from_slice(&rest[..at]);
            rest = &rest[at + gap.len()..];
        }
        (rest == envelope::AFTER_TAG).then(|| Self {
            start: start.to_vec(),
            bytes: cast.envelope.len(),
            pieces,
        })
    }

    /// How large a message is at most, mostly.
    pub(super) fn expected_bytes(&self, body: &[u8]) -> usize {
        self.bytes + body.len() / 3 * 4 + ROOM_FOR_SHOWN
    }

    /// Appends a message; returns where in `out` the delivery tag's JSON begins.
    pub(super) fn fill(
        &self,
        out: &mut Vec<u8>,
        call: &Plain<'_>,
        body: &[u8],
        (args, kwargs): (Repr<'_>, Repr<'_>),
    ) -> usize {
        let [
            to_id,
            to_group,
            to_root,
            to_args,
            to_kwargs,
            to_correlation,
            to_replies,
            to_tag,
        ] = &self.pieces;
        out.extend_from_slice(&self.start);
        envelope::append_base64(out, body);
        out.extend_from_slice(to_id);
        let id_at = out.len();
        append_str(out, call.task_id);
        let id = id_at..out.len();
        out.extend_from_slice(to_group);
        append_group(out, call.group);
        out.extend_from_slice(to_root);
        out.extend_from_within(id.clone());
        out.extend_from_slice(to_args);
        args.append(out);
        out.extend_from_slice(to_kwargs);
        kwargs.append(out);
        out.extend_from_slice(to_correlation);
        out.extend_from_within(id);
        out.extend_from_slice(to_replies);
        append_str(out, call.reply_to);
        out.extend_from_slice(to_tag);
        let tag_at = out.len();
        envelope::append_tag(out, call.delivery_tag);
        tag_at
    }
}

/// What follows the group of a message that has no place in it.
const NO_INDEX: &str = ", \"group_index\": null";
/// For the texts of the arguments, mostly.
const ROOM_FOR_SHOWN: usize = 160;

fn append_group(out: &mut Vec<u8>, group: Option<(&str, i64)>) {
    if let Some((group, index)) = group {
        append_str(out, group);
        out.extend_from_slice(b", \"group_index\": ");
        out.extend_from_slice(itoa::Buffer::new().format(index).as_bytes());
    } else {
        out.extend_from_slice(b"null");
        out.extend_from_slice(NO_INDEX.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::Target;
    use crate::wire::template::Task;

    fn task(headers: &[(&str, &str)], compression: Option<&str>) -> Task {
        let texts = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        Task {
            name: "tasks.\u{e9}\"".into(),
            shadow: Some("shown".into()),
            timelimit: "[10, 5.0]".into(),
            origin: "gen1@host".into(),
            ignore_result: None,
            content_type: "application/json".into(),
            content_encoding: "utf-8".into(),
            reply_to: Some("template's".into()),
            delivery_mode: 1,
            priority: Some(3),
            target: Target {
                exchange: "ex".into(),
                routing_key: "key".into(),
            },
            headers: headers.iter().map(texts).collect(),
            compression: compression.map(str::to_owned),
        }
    }

    fn check(template: &Template) {
        let groups = [None, Some(("group\u{e9}", 0)), Some(("g", i64::MAX))];
        for call in groups.map(|group| Plain {
            task_id: "id\n\u{1f600}",
            delivery_tag: "tag",
            reply_to: "re\"plies",
            group,
        }) {
            for length in 0..=4 {
                let body = &b"[[]]"[..length];
                let shown = (Repr::Text("(1, '\u{e9}\"')"), Repr::Json("\"\\ud800\""));
                let at_length = template.seal(&Call::from(call), call.task_id, body, shown);
                assert_eq!(template.seal_plain(&call, body, shown), at_length);
            }
        }
    }

    #[test]
    fn a_plain_message_has_the_bytes_that_it_has_the_long_way() {
        for compression in [None, Some("application/x-gzip")] {
            for headers in [&[][..], &[("tenant", "\"blue\""), ("group_index", "5")]] {
                let template = Template::new(task(headers, compression));
                assert!(template.mould.is_some() != headers.iter().any(|(name, _)| *name == "group_index"));
                check(&template);
            }
        }
    }

    #[test]
    fn a_header_in_the_place_of_a_part_makes_messages_go_the_long_way() {
        for name in ["id", "group", "root_id", "argsrepr", "kwargsrepr"] {
            let template = Template::new(task(&[(name, "\"mine\"")], None));
            assert!(template.mould.is_none(), "{name}");
            check(&template);
        }
    }
}
