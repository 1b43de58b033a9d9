//! Plain text.

use super::written::{Component, Guess, Task};
use super::{Found, Look};

pub fn guess(look: &Look<'_>) -> Found {
    let size = std::fs::metadata(look.data).map_err(|error| error.to_string())?.len() as usize;
    if size < 200 {
        return Err(format!("a text of {size} bytes is too short to learn from"));
    }
    let context = if size < 20_000 { 16 } else { 128 };
    let mut guess = Guess {
        component: "text",
        // Windows overlap by half.
        samples: size * 2 / context,
        task: Task::Tokens,
        rate: 1e-3,
        // The data set holds back the end of the text.
        validation: true,
        summary: format!("a text of {size} bytes; the next character from those before"),
        ..Guess::default()
    };
    guess.set("context", &context.to_string(), "characters of a sample");
    guess.set(
        "validation",
        "0.1",
        "share of the text, at its end; `tokens` has tokens instead of characters",
    );
    guess.model = Some(
        Component::new("gpt", "predicts the next token")
            .set("layers", "2", "")
            .set("width", "64", ""),
    );
    Ok(guess)
}
