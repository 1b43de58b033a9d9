//! `fluxbay generate`: the model of a run or bundle continues a text.

use std::{
    ffi::OsString,
    io::{self, Read as _, Write},
    path::PathBuf,
    rc::Rc,
    time::Instant,
};

use clap_complete::engine::ArgValueCompleter;

use super::{opening::read_saved, predict::failure, shortcuts::threads};
use crate::{
    bundle::Source,
    cli::{
        candidates,
        outcome::{Exit, Failure, Outcome},
        output::print_json,
        plugin_path::PluginPath,
        run_lookup,
    },
    display::Screen,
    predict::{Applied, DataUse, Generator, Sampling},
    surroundings::own_output,
};

/// Arguments of `fluxbay generate`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A run's folder, its name or a part of it; or a bundle.
    #[arg(value_name = "RUN", add = ArgValueCompleter::new(candidates::runs))]
    run: OsString,
    /// The text to continue; `-` for stdin.
    ///
    /// Without it, or if it is empty, the text begins with the token that ends texts.
    #[arg(short, long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    prompt: String,
    /// Write at most N tokens.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 200)]
    max_tokens: u64,
    /// Sample at temperature T; 0 takes the most probable token.
    ///
    /// By default 1 if --top-k, --top-p or --seed is given, and 0 otherwise.
    #[arg(long, value_name = "T", value_parser = temperature)]
    temperature: Option<f64>,
    /// Sample from the K most probable tokens.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..))]
    top_k: Option<u64>,
    /// Sample from the most probable tokens that together have probability P.
    #[arg(long, value_name = "P", value_parser = share)]
    top_p: Option<f64>,
    /// Make tokens that the text has already less probable: 1.1.
    #[arg(long, value_name = "X", default_value_t = 1.0, hide_default_value = true, hide_short_help = true, value_parser = penalty)]
    repetition_penalty: f64,
    /// Seed of the samples, 0 by default; the same seed gives the same text.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// End before TEXT; may be given several times.
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Go on after the token that ends texts.
    #[arg(long, hide_short_help = true)]
    ignore_end: bool,
    /// Give the model at most N tokens; by default as many as in training.
    ///
    /// Once the text is longer, the last half of them is read again.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(2..), hide_short_help = true)]
    context: Option<u64>,
    /// Run the model on the whole text for each token.
    #[arg(long, hide_short_help = true)]
    no_cache: bool,
    /// Write JSON at the end, as `fluxbay schema generate` describes.
    #[arg(long)]
    json: bool,
    /// Use this checkpoint, not the final model.
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    checkpoint: Option<PathBuf>,
    /// Use the model with this name, if the run has several.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true,
        hide_short_help = true
    )]
    model: String,
    /// Compute on N threads.
    #[arg(long, value_name = "N", value_parser = threads, hide_short_help = true)]
    threads: Option<usize>,
    #[command(flatten)]
    path: PluginPath,
}

fn number(text: &str, valid: impl Fn(f64) -> bool, range: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && valid(number) => Ok(number),
        _ => Err(format!("a number {range} is needed")),
    }
}

fn temperature(text: &str) -> Result<f64, String> {
    number(text, |x| x >= 0.0, "of at least 0")
}

fn share(text: &str) -> Result<f64, String> {
    number(text, |x| x > 0.0 && x <= 1.0, "above 0 and at most 1")
}

fn penalty(text: &str) -> Result<f64, String> {
    number(text, |x| x > 0.0, "above 0")
}

impl Arguments {
    fn sampling(&self) -> Sampling {
        let samples = self.top_k.is_some() || self.top_p.is_some() || self.seed.is_some();
        Sampling {
            temperature: self.temperature.unwrap_or(if samples { 1.0 } else { 0.0 }),
            top_k: self.top_k.map_or(0, |k| usize::try_from(k).unwrap_or(0)),
            top_p: self.top_p.unwrap_or(1.0),
            repetition_penalty: self.repetition_penalty,
            seed: self.seed.unwrap_or(0),
        }
    }

    fn prompt(&self) -> Result<String, Failure> {
        if self.prompt != "-" {
            return Ok(self.prompt.clone());
        }
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map_err(|error| {
            Failure::new(Exit::Configuration, format!("cannot read the prompt from stdin: {error}"))
        })?;
        Ok(text)
    }
}

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    MaxTokens,
    EndToken,
    Stop,
    /// The reader has seen enough.
    Closed,
}

impl Ending {
    fn name(self) -> &'static str {
        match self {
            Ending::MaxTokens => "max-tokens",
            Ending::EndToken => "end-token",
            Ending::Stop => "stop",
            Ending::Closed => "closed",
        }
    }
}

pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let folder = run_lookup::find_model(&arguments.run)?;
    let source = Source::open(&folder, arguments.checkpoint.as_deref())
        .map_err(|text| Failure::new(Exit::Configuration, text))?;
    let set = arguments.threads.map(|threads| format!("run.threads={threads}"));
    let read = read_saved(
        &folder,
        &source.plugins,
        set.into_iter().collect(),
        Vec::new(),
        &arguments.path,
        |draft, _| draft.keep_models(true),
    );
    let (run, catalog) = read.accept()?;
    let applied = Applied::open(run, Rc::new(catalog), &source, &arguments.model, DataUse::Texts)
        .map_err(failure)?;
    let prompt = arguments.prompt()?;
    let end = applied.end_token().map_err(failure)?;
    let mut ids = applied.encode(&prompt).map_err(failure)?;
    if ids.is_empty() {
        let Some(end) = end else {
            let text = "the prompt is empty, and no token ends texts in the data of the run: begin \
                        the text with --prompt TEXT";
            return Err(Failure::new(Exit::Configuration, text));
        };
        ids.push(end);
    }
    let context = arguments.context.and_then(|context| usize::try_from(context).ok());
    let mut generator = Generator::new(&applied, &ids, context).map_err(failure)?;
    if arguments.no_cache {
        generator = generator.without_cache();
    }
    let mut text = Written::new(arguments.stop.clone(), arguments.json);
    let begin = Instant::now();
    let ending = write(arguments, &applied, &mut generator, end, &mut text)?;
    let seconds = begin.elapsed().as_secs_f64();
    let new = &generator.ids()[ids.len()..];
    if arguments.json {
        return print_json(&serde_json::json!({
            "schema": 1,
            "prompt": prompt,
            "text": text.all,
            "ending": ending.name(),
            "prompt-tokens": ids.len(),
            "tokens": new,
            "cached": generator.is_cached(),
            "seconds": seconds,
        }));
    }
    if ending != Ending::Closed {
        text.finish()?;
    }
    let way = if generator.is_cached() { "" } else { ", each with a pass over the whole text" };
    let rate = new.len() as f64 / seconds.max(1e-9);
    screen.print(&format!("{} tokens, {rate:.0} a second{way}", new.len()));
    Ok(Exit::Done)
}

/// Writes tokens until the text ends.
fn write(
    arguments: &Arguments,
    applied: &Applied,
    generator: &mut Generator<'_>,
    end: Option<u32>,
    text: &mut Written,
) -> Result<Ending, Failure> {
    let sampling = arguments.sampling();
    let mut decoded = Decoded::after(generator.ids());
    for place in 0..arguments.max_tokens {
        let logits = generator.logits().map_err(failure)?;
        let Some(id) = sampling.choose(&logits, generator.ids(), place) else {
            let text = "the model predicts no next token: all its logits are NaN";
            return Err(Failure::new(Exit::Failed, text));
        };
        generator.push(id);
        if !arguments.ignore_end && Some(id) == end {
            return Ok(Ending::EndToken);
        }
        let piece = decoded.next(applied, generator.ids())?;
        match text.push(&piece) {
            Ok(true) => return Ok(Ending::Stop),
            Ok(false) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Ending::Closed),
            Err(error) => return Err(unwritable(&error)),
        }
    }
    Ok(Ending::MaxTokens)
}

fn unwritable(error: &io::Error) -> Failure {
    Failure::new(
        Exit::Failed,
        format!("cannot write to stdout: {error}; free some space, or redirect it elsewhere"),
    )
}

/// The text of tokens as they come. A character of several tokens is held back until it is whole,
/// and tokens are decoded with those before them, since their spaces depend on these.
#[derive(Debug)]
struct Decoded {
    /// First token that is decoded with the next ones, and the first whose text is not written.
    from: usize,
    to: usize,
}

/// Tokens that the first new token is decoded with.
const BEFORE: usize = 6;

impl Decoded {
    fn after(ids: &[u32]) -> Decoded {
        Decoded { from: ids.len().saturating_sub(BEFORE), to: ids.len() }
    }

    /// The new text after a token was added.
    fn next(&mut self, applied: &Applied, ids: &[u32]) -> Result<String, Failure> {
        let decode = |ids: &[u32]| applied.decode(ids).map_err(failure);
        let (before, all) = (decode(&ids[self.from..self.to])?, decode(&ids[self.from..])?);
        // U+FFFD stands for the beginning of a character.
        if all.len() <= before.len() || all.ends_with('\u{fffd}') {
            return Ok(String::new());
        }
        (self.from, self.to) = (self.to, ids.len());
        Ok(all.get(before.len()..).unwrap_or_default().to_owned())
    }
}

/// The text that was written. What may be the beginning of a stop text is held back.
#[derive(Debug)]
struct Written {
    stops: Vec<String>,
    /// Whether nothing goes to stdout.
    silent: bool,
    all: String,
    /// Bytes of `all` that went out.
    out: usize,
}

impl Written {
    fn new(stops: Vec<String>, silent: bool) -> Written {
        let stops = stops.into_iter().filter(|stop| !stop.is_empty()).collect();
        Written { stops, silent, all: String::new(), out: 0 }
    }

    /// Adds text; true if it has reached a stop text, which is cut off.
    fn push(&mut self, piece: &str) -> io::Result<bool> {
        self.all.push_str(piece);
        let found = self.stops.iter().filter_map(|stop| {
            let at = self.all[self.out..].find(stop.as_str())?;
            Some(self.out + at)
        });
        if let Some(at) = found.min() {
            self.all.truncate(at);
            self.release(at)?;
            return Ok(true);
        }
        let ready = self.all.len() - self.held();
        self.release(ready)?;
        Ok(false)
    }

    /// Bytes at the end that may be the beginning of a stop text.
    fn held(&self) -> usize {
        let tail = &self.all[self.out..];
        let begins = |stop: &String| {
            let lengths = stop.char_indices().map(|(at, _)| at).filter(|at| *at > 0);
            lengths.filter(|&length| tail.ends_with(&stop[..length])).max().unwrap_or(0)
        };
        self.stops.iter().map(begins).max().unwrap_or(0)
    }

    fn release(&mut self, to: usize) -> io::Result<()> {
        if to > self.out && !self.silent {
            out(&self.all[self.out..to])?;
        }
        self.out = self.out.max(to);
        Ok(())
    }

    /// Writes what was held back, and a line break.
    fn finish(&mut self) -> Result<(), Failure> {
        let ended = self.release(self.all.len()).and_then(|()| out("\n"));
        match ended {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unwritable(&error)),
            _ => Ok(()),
        }
    }
}

/// Writes to stdout at once.
fn out(text: &str) -> io::Result<()> {
    if let Ok(mut output) = own_output(1) {
        return output.write_all(text.as_bytes());
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_begin_a_stop_text_is_held_back() {
        let mut text = Written::new(vec!["\n\n".into(), "End".into(), String::new()], true);
        for (piece, out, stops) in [
            ("one", 3, false),
            ("\n", 3, false),
            ("two E", 8, false),
            ("n", 8, false),
            ("ter E", 14, false),
            ("nd of", 14, true),
        ] {
            assert_eq!(text.push(piece).unwrap(), stops, "{piece:?}");
            assert_eq!(text.out, out, "{piece:?}: {:?}", text.all);
        }
        assert_eq!(text.all, "one\ntwo Enter ");
    }

    #[test]
    fn sampling_begins_with_any_of_its_settings() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            arguments: Arguments,
        }
        let sampling = |more: &[&str]| {
            let line =
                <Line as clap::Parser>::try_parse_from([&["generate", "run"], more].concat());
            line.map(|line| line.arguments.sampling()).map_err(|error| error.to_string())
        };
        assert_eq!(sampling(&[]).unwrap(), Sampling::default());
        for more in [["--top-k", "3"], ["--top-p", "0.5"], ["--seed", "0"]] {
            assert_eq!(sampling(&more).unwrap().temperature, 1.0);
        }
        assert_eq!(sampling(&["--top-k", "3", "--temperature", "0.5"]).unwrap().temperature, 0.5);
        for wrong in ["--top-p=0", "--temperature=-1", "--repetition-penalty=0"] {
            let error = sampling(&[wrong]).unwrap_err();
            assert!(error.contains("a number"), "{error}");
        }
    }
}
