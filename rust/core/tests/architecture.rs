//! Who may use whom inside the core, held as a test: the map of ARCHITECTURE.md in code.

#![expect(
    clippy::unwrap_used,
    reason = "a test may stop where it stands; the lint knows only functions marked as tests"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Every room, and the rooms it may name. `error` and `time` are the ground everybody stands on.
const MAP: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("time", &[]),
    ("ids", &[]),
    ("codec", &[]),
    ("compress", &[]),
    ("timer", &[]),
    ("runtime", &["per_process"]),
    ("per_process", &[]),
    ("wake", &[]),
    ("wire", &["codec", "ids"]),
    ("ledger", &["wake", "wire"]),
    // An outcome is stored together with its ack, so a broker takes what a result store puts.
    (
        "broker",
        &[
            "backend",
            "codec",
            "ids",
            "ledger",
            "per_process",
            "runtime",
            "timer",
            "wire",
        ],
    ),
    (
        "backend",
        &[
            "broker",
            "codec",
            "compress",
            "ledger",
            "per_process",
            "runtime",
            "timer",
            "wake",
            "wire",
        ],
    ),
    ("links", &["codec", "wire"]),
    (
        "intake",
        &[
            "backend", "broker", "codec", "ledger", "links", "runtime", "timer", "wire",
        ],
    ),
];
const GROUND: &[&str] = &["error", "time", "Error", "Remedy", "Result"];

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The room a file belongs to: its first folder, or its name.
fn room_of(file: &Path) -> String {
    let below = file.strip_prefix(source_folder()).unwrap();
    let first = below.components().next().unwrap().as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// A file's text without comments, so that a link in a doc comment is no import.
fn code_of(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// First names after `crate::`, through one level of braces.
fn names_after_crate(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for tail in code.split("crate::").skip(1) {
        let list = tail
            .strip_prefix('{')
            .map_or_else(|| vec![tail.to_owned()], top_level_items);
        names.extend(
            list.iter()
                .map(|item| first_word(item))
                .filter(|name| !name.is_empty()),
        );
    }
    names
}

/// Splits `a::{b, c}, d}` at the commas that no inner brace holds.
fn top_level_items(braced: &str) -> Vec<String> {
    let (mut depth, mut items) = (0_u32, vec![String::new()]);
    for letter in braced.chars() {
        match letter {
            '}' if depth == 0 => break,
            ',' if depth == 0 => items.push(String::new()),
            _ => {
                depth = depth + u32::from(letter == '{') - u32::from(letter == '}');
                if let Some(last) = items.last_mut() {
                    last.push(letter);
                }
            }
        }
    }
    items
}

fn first_word(item: &str) -> String {
    item.trim()
        .chars()
        .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
        .collect()
}

fn rooms_on_disk() -> BTreeMap<String, Vec<PathBuf>> {
    let mut rooms: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in rust_files(&source_folder()) {
        rooms.entry(room_of(&file)).or_default().push(file);
    }
    rooms.remove("lib");
    rooms
}

fn may_name(room: &str, name: &str) -> bool {
    let allowed = MAP
        .iter()
        .find(|(known, _)| *known == room)
        .map_or(&[][..], |(_, allowed)| *allowed);
    name == room || allowed.contains(&name) || GROUND.contains(&name)
}

#[test]
fn every_room_has_a_place_on_the_map() {
    let known: BTreeSet<&str> = MAP.iter().map(|(room, _)| *room).collect();
    let found = rooms_on_disk();
    let strangers: Vec<&String> = found
        .keys()
        .filter(|room| !known.contains(room.as_str()))
        .collect();
    assert!(
        strangers.is_empty(),
        "give these rooms a place in MAP: {strangers:?}"
    );
}

#[test]
fn a_room_uses_only_the_rooms_its_line_names() {
    let mut offences = Vec::new();
    for (room, files) in rooms_on_disk() {
        for file in files {
            let names = names_after_crate(&code_of(&file));
            offences.extend(
                names
                    .iter()
                    .filter(|name| !may_name(&room, name))
                    .map(|name| format!("{} uses crate::{name}", file.display())),
            );
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn python_is_not_in_the_dependency_tree_of_the_core() {
    let arguments = [
        "tree",
        "--locked",
        "--offline",
        "-p",
        "celeriac-core",
        "-e",
        "normal,build",
        "--prefix",
        "none",
    ];
    let tree = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let crates = String::from_utf8_lossy(&tree.stdout).into_owned();
    assert!(
        crates.contains("celeriac-core"),
        "cargo tree listed nothing:\n{crates}"
    );
    let python: Vec<&str> = crates.lines().filter(|line| line.starts_with("pyo3")).collect();
    assert!(python.is_empty(), "the core must not depend on {python:?}");
}

#[test]
fn names_are_read_through_braces() {
    let code = "use crate::{broker::{Consumer, qos}, wire::Message, Result};\nuse crate::time::Clock;";
    let expected = ["Result", "broker", "time", "wire"].map(str::to_owned);
    assert_eq!(names_after_crate(code), BTreeSet::from(expected));
}
