//! The reference page of the flags is what the table says.

#[test]
fn the_reference_page_is_up_to_date() {
    assert!(
        include_str!("../../../docs/flags.md") == windlass_config::reference(),
        "docs/flags.md is stale: cargo run -p windlass-config --example flags_reference > docs/flags.md"
    );
}
