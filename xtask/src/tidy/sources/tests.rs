//! Each rule finds what it is for, and nothing else.

use super::*;

fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned(), measure: measure(text).unwrap() }
}

#[test]
fn a_module_without_a_word_is_named() {
    assert_eq!(opening(&source("a.rs", "//! What it is for.\nfn f() {}")), None);
    assert!(opening(&source("a.rs", "// no\nfn f() {}")).is_some());
    assert!(opening(&source("a.rs", "")).is_some());
}

#[test]
fn unfinished_code_is_named_with_its_line() {
    let text = concat!("//! Doc.\nfn f() { to", "do!() }");
    let faults = words(&source("a.rs", text));
    assert_eq!((faults.len(), faults[0].line), (1, 2));
    assert_eq!(words(&source("a.rs", "//! To do is to be.")), []);
}

#[test]
fn long_functions_and_files_are_named() {
    let mut ratchet = Ratchet::default();
    let body = "\n".repeat(FUNCTION_LINES_MAX - 1);
    assert_eq!(sizes(&source("a.rs", &format!("fn f() {{{body}}}")), &mut ratchet), []);
    let faults = sizes(&source("a.rs", &format!("fn f() {{\n{body}}}")), &mut ratchet);
    assert!(faults[0].wrong.contains("`f`"), "{faults:?}");
    let long = "//\n".repeat(FILE_LINES_MAX + 1);
    assert_eq!(sizes(&source("a.rs", &long), &mut ratchet).len(), 1);
}

#[test]
fn empty_names_are_named() {
    let text = "struct PoolManager; struct Management; mod utils {}";
    let names: Vec<_> = names(&source("a.rs", text)).into_iter().map(|f| f.wrong).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn tests_are_known_by_place_and_by_cfg() {
    let lib = source("a/src/lib.rs", "#[cfg(test)]\nmod fixtures;");
    let inner = source("a/src/b.rs", "#[cfg(test)]\nmod cases;");
    let places = test_places(&[lib, inner]);
    for path in
        ["a/tests/it/main.rs", "a/src/b/tests.rs", "a/src/fixtures.rs", "a/src/b/cases/c.rs"]
    {
        assert!(is_test(path, &places), "{path}");
    }
    for path in ["a/src/fixtures_of.rs", "a/src/b.rs", "a/src/latests.rs"] {
        assert!(!is_test(path, &places), "{path}");
    }
}
