//! Messages come back from their bytes, and nothing else is one.

use super::*;
use crate::hash;
use crate::ids::{DataHash, StoreId, hex};
use crate::value::Value;
use crate::version::{Event, Version};

fn live() -> Message {
    let key = Key::new("k").expect("a key");
    let value = Value::string("hi");
    let version =
        Version::first(&key, hash::data_hash(&value), 1_700_000_000_000, StoreId([7; 16]));
    let delete =
        Version::next([version.id].into_iter().collect(), DataHash::NONE, 5, StoreId([7; 16]));
    Message::Live {
        namespace: Namespace::new("notes").expect("a name"),
        sequence: 9,
        root: None,
        maker: NodeId([8; 32]),
        events: vec![Event::new(key.clone(), version, Some(value)), Event::new(key, delete, None)]
            .into(),
    }
}

#[test]
fn a_message_comes_back_from_its_bytes() {
    let message = live();
    assert_eq!(Message::decode(&message.encode()).expect("a message"), message);
}

#[test]
fn the_bytes_of_an_ack_are_as_the_page_says() {
    let page = include_str!("../../../../PROTOCOL.md");
    let example = "For instance, the acknowledgement of sequence 300 of namespace `n` with a digest \
                   of zeros begins with\nthe bytes `";
    let begins = page.split_once(example).and_then(|(_, rest)| rest.split_once('`'));
    let begins = begins.expect("the example").0.replace(' ', "");
    let message = Message::Ack {
        namespace: Namespace::new("n").expect("a name"),
        sequence: 300,
        root: Digest::default(),
        whole: true,
    };
    assert_eq!(hex(&message.encode()), format!("{begins}{}f5", "00".repeat(32)));
}

#[test]
fn what_is_no_message_is_refused_with_its_place() {
    for bytes in [&b""[..], b"hello", &[0x82, 0x18, 0x63, 0x80], &[0x82, 0x00, 0x81, 0x80]] {
        let refusal = Message::decode(bytes).expect_err("nonsense");
        assert_eq!(refusal.code, Code::BadFrame);
        assert!(refusal.message.contains("byte "), "{refusal}");
    }
    let whole = live().encode();
    for cut in 0..whole.len() {
        assert!(Message::decode(&whole[..cut]).is_err(), "cut at {cut}");
    }
    let mut longer = whole.clone();
    longer.push(0);
    assert!(Message::decode(&longer).expect_err("longer").message.contains("more bytes"));
}

#[test]
fn fields_of_a_later_version_are_ignored() {
    // An ack with a fifth field.
    let bytes = [
        &[0x82, 0x06, 0x85, 0x61, b'n', 0x01, 0x58, 0x20][..],
        &[0; 32],
        &[0xf5, 0x63, b'n', b'e', b'w'],
    ]
    .concat();
    assert!(matches!(Message::decode(&bytes), Ok(Message::Ack { sequence: 1, .. })));
    // A proof whose `who` has a third field, and which has a fifth one itself.
    let bytes = [
        &[0x82, 0x01, 0x81, 0x85, 0x83, 0x58, 0x20][..],
        &[7; 32],
        &[0x50],
        &[8; 16],
        &[0x63, b'n', b'e', b'w', 0xf6, 0x58, 0x40],
        &[9; 64],
        &[0xf6, 0x81, 0x01],
    ]
    .concat();
    assert!(matches!(Message::decode(&bytes), Ok(Message::Prove(_))));
}

#[test]
fn a_message_of_a_later_version_is_refused_by_its_number() {
    let refusal = Message::decode(&[0x82, 0x18, 0x63, 0x80]).expect_err("there is no 99");
    assert_eq!(refusal.code, Code::BadFrame);
    assert!(refusal.message.contains("99"), "{refusal}");
}
