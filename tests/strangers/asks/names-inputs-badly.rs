//! Dispatches manifests with names that reach out of the sandbox, that are none, that are used twice, and too many.
//! loses: the place of a Bid, until the Dispatch

use eider_tests::strangers::*;

/// [P-DISPATCH-2]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let named =
        |table: &str, file: &str| InputEntry { table: table.into(), file: file.into(), ..Stranger::entry(0, b"1") };
    let long = "t".repeat(65);
    let mut bad = vec![];
    for (table, file) in [
        ("", "/1"),
        ("1t", "1t/1"),
        ("t t", "t t/1"),
        ("../t", "../t/1"),
        (&long, &format!("{long}/1")),
        ("t", "u/1"),
        ("t", "t/"),
        ("t", "t/../../1"),
        ("t", "t/\n"),
        ("t", "/etc/passwd"),
        ("t\"; DROP", "t\"; DROP/1"),
    ] {
        bad.push(vec![named(table, file)]);
    }
    bad.push(vec![Stranger::entry(0, b"1"), Stranger::entry(0, b"2")]);
    bad.push(vec![Stranger::entry(0, b"1"), InputEntry { format: Format::Json, ..Stranger::entry(1, b"1") }]);
    bad.push((0..=InputEntry::MAX).map(|n| Stranger::entry(n, b"1")).collect());
    for inputs in bad {
        let (mut stream, _) = stranger.run(&Stranger::task_on("SELECT 1", inputs)).await?;
        let code = Stranger::refusal(&mut stream).await?;
        ensure!(code == ResetCode::Malformed, "reset as {code}");
    }
    stranger.is_free().await
}
