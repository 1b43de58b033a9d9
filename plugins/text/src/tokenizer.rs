//! Texts to ids.

use std::path::{Path, PathBuf};

use fluxbay_plugin::prelude::*;
use tokenizers::{
    AddedToken, PaddingDirection, PostProcessor, TokenizerBuilder, TruncationParams,
    decoders::byte_level::ByteLevel, models::bpe::BPE, models::bpe::BpeTrainer,
};

use crate::words::Words;

/// The special tokens of a tokenizer that was trained here.
const PADDING: &str = "<pad>";
const END: &str = "<|endoftext|>";

/// Names of tokens for padding and for the end of a text, in widespread tokenizers.
const PADDINGS: [&str; 5] =
    ["[PAD]", "<pad>", "<|padding|>", "<|pad|>", "<|finetune_right_pad_id|>"];
const ENDS: [&str; 8] =
    [END, "</s>", "<|end_of_text|>", "<eos>", "[SEP]", "<|im_end|>", "[EOS]", "<|end|>"];

/// A tokenizer with the numbers that batches need.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// The fast way for whole texts, if there is one.
    words: Option<Words>,
    /// Content of its file.
    pub json: String,
    /// One more than the largest id.
    pub vocabulary: usize,
    padding: Option<u32>,
    end: Option<u32>,
    /// Whether padding comes before the tokens.
    pub pads_left: bool,
}

/// An error of the crate, with the name of what it concerns.
fn wrong(error: &tokenizers::Error) -> Error {
    Error::new(error.to_string())
}

impl Tokenizer {
    /// The tokenizer of a `tokenizer.json`.
    ///
    /// # Errors
    /// It cannot be read, or has no tokens.
    pub fn from_json(json: String) -> Result<Tokenizer> {
        // The loader has threads of its own. Threads that the crate starts would stay.
        tokenizers::parallelism::set_parallelism(false);
        let mut inner =
            tokenizers::Tokenizer::from_bytes(json.as_bytes()).map_err(|error| wrong(&error))?;
        let last = inner.get_vocab(true).into_values().max();
        let Some(last) = last else { bail!("the tokenizer has no tokens") };
        let named = |names: &[&str]| names.iter().find_map(|name| inner.token_to_id(name));
        let (own, end) = (inner.get_padding().cloned(), named(&ENDS));
        let padding = own.as_ref().map(|own| own.pad_id).or_else(|| named(&PADDINGS));
        let pads_left = own.is_some_and(|own| matches!(own.direction, PaddingDirection::Left));
        inner.with_padding(None);
        let (words, vocabulary) = (Words::of(&inner), last as usize + 1);
        Ok(Tokenizer { inner, words, json, vocabulary, padding, end, pads_left })
    }

    /// The tokenizer of a file, or of `tokenizer.json` in a folder.
    ///
    /// # Errors
    /// It cannot be read. The error names the file.
    pub fn open(path: &Path) -> Result<Tokenizer> {
        let path = match path.is_dir() {
            true => path.join("tokenizer.json"),
            false => path.to_owned(),
        };
        let json = std::fs::read_to_string(&path).context(path.display())?;
        Tokenizer::from_json(json).context(format!("{} is no tokenizer.json", path.display()))
    }

    /// Trains a byte-level BPE of at most `vocabulary` tokens. The same texts give the same tokens.
    ///
    /// # Errors
    /// The vocabulary has no room for all bytes.
    pub fn train(
        texts: impl Iterator<Item = String> + Send,
        vocabulary: usize,
    ) -> Result<Tokenizer> {
        tokenizers::parallelism::set_parallelism(false);
        let special = [PADDING, END].map(|token| AddedToken::from(token, true));
        if vocabulary < 256 + special.len() {
            bail!(
                "vocabulary = {vocabulary}: at least {} are needed, one for each byte and {} special ones",
                256 + special.len(),
                special.len()
            );
        }
        let bytes = ByteLevel::new(false, true, true);
        let mut inner = TokenizerBuilder::default()
            .with_model(BPE::default())
            .with_pre_tokenizer(Some(bytes))
            .with_decoder(Some(bytes))
            .with_normalizer(None::<tokenizers::NormalizerWrapper>)
            .with_post_processor(None::<tokenizers::PostProcessorWrapper>)
            .build()
            .map_err(|error| wrong(&error))?;
        let mut trainer = BpeTrainer::builder()
            .vocab_size(vocabulary)
            .min_frequency(2)
            .show_progress(false)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .special_tokens(special.to_vec())
            .build();
        inner.train(&mut trainer, texts).map_err(|error| wrong(&error))?;
        Tokenizer::from_json(inner.to_string(false).map_err(|error| wrong(&error))?)
    }

    /// The id of padding: that of token `name` if one is given.
    ///
    /// # Errors
    /// There is no such token, or none that is known to be padding.
    pub fn padding(&self, name: Option<&str>) -> Result<u32> {
        self.special("padding-token", name, self.padding)
    }

    /// The id of the token between texts: that of token `name` if one is given.
    ///
    /// # Errors
    /// There is no such token, or none that is known to end a text.
    pub fn end(&self, name: Option<&str>) -> Result<u32> {
        self.special("end-token", name, self.end)
    }

    fn special(&self, key: &str, name: Option<&str>, known: Option<u32>) -> Result<u32> {
        match name {
            Some(name) => self.inner.token_to_id(name).ok_or_else(|| {
                Error::new(format!("{key} = {name:?}: the tokenizer has no such token"))
            }),
            None => known.ok_or_else(|| {
                Error::new(format!("the tokenizer does not say which token this is: set {key}"))
            }),
        }
    }

    /// Texts, or pairs of texts, give at most `length` ids from now on.
    ///
    /// # Errors
    /// The special tokens alone are more.
    pub fn truncate(&mut self, length: usize, pairs: bool, special: bool) -> Result<()> {
        if !special {
            // It would only add tokens.
            self.inner.with_post_processor(None::<tokenizers::PostProcessorWrapper>);
        }
        let own = self.inner.get_post_processor().map_or(0, |own| own.added_tokens(pairs));
        if special && own >= length {
            bail!("length = {length}: the tokenizer adds {own} special tokens to each sample");
        }
        let given = self.inner.get_truncation().cloned().unwrap_or_default();
        let params = TruncationParams { max_length: length, stride: 0, ..given };
        self.inner.with_truncation(Some(params)).map_err(|error| wrong(&error))?;
        Ok(())
    }

    /// A tokenizer of whole texts: none is cut.
    ///
    /// # Errors
    /// As [`Tokenizer::from_json`].
    pub fn of_whole_texts(json: String) -> Result<Tokenizer> {
        let mut tokenizer = Tokenizer::from_json(json)?;
        tokenizer.keep_whole()?;
        Ok(tokenizer)
    }

    /// Texts are not cut from now on.
    ///
    /// # Errors
    /// None is known.
    pub fn keep_whole(&mut self) -> Result<()> {
        self.inner.with_truncation(None).map_err(|error| wrong(&error))?;
        Ok(())
    }

    /// The text of ids, without special tokens.
    ///
    /// # Errors
    /// The tokenizer cannot decode them.
    pub fn text(&self, ids: &[u32]) -> Result<String> {
        self.inner.decode(ids, true).map_err(|error| wrong(&error))
    }

    /// The token between texts, if it is known.
    pub fn known_end(&self) -> Option<u32> {
        self.end
    }

    /// The ids of a whole text, without special tokens.
    ///
    /// # Errors
    /// The tokenizer cannot encode it, such as one without a token for unknown words.
    pub fn ids(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        if let Some(words) = &self.words
            && words.encode(&self.inner, text, &mut ids).map_err(|error| wrong(&error))?
        {
            return Ok(ids);
        }
        let encoding = self.inner.encode_fast(text, false).map_err(|error| wrong(&error))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Writes the ids of a text or a pair into `ids` and the number of the text that each token
    /// belongs to into `types`. The rest is filled with `padding` and 0. Returns the number of tokens.
    /// [`Tokenizer::truncate`] was called with the length of `ids`.
    ///
    /// # Errors
    /// As [`Tokenizer::ids`].
    pub fn encode(
        &self,
        (text, pair): (&str, Option<&str>),
        special: bool,
        padding: u32,
        ids: &mut [u32],
        types: Option<&mut [u32]>,
    ) -> Result<usize> {
        let encoding = match pair {
            None => self.inner.encode_fast(text, special),
            // The fast way does not tell the texts apart.
            Some(pair) => self.inner.encode((text, pair), special),
        }
        .map_err(|error| wrong(&error))?;
        let count = encoding.len().min(ids.len());
        let start = if self.pads_left { ids.len() - count } else { 0 };
        ids.fill(padding);
        ids[start..start + count].copy_from_slice(&encoding.get_ids()[..count]);
        if let Some(types) = types {
            types.fill(0);
            types[start..start + count].copy_from_slice(&encoding.get_type_ids()[..count]);
        }
        Ok(count)
    }
}

/// Where a tokenizer comes from.
#[derive(Clone, Debug)]
pub struct Source {
    /// A file, or nothing: then one is trained.
    pub path: Option<PathBuf>,
    /// Most tokens of one that is trained.
    pub vocabulary: usize,
    /// Where one that was trained is written to.
    pub run_dir: Option<PathBuf>,
}

impl Source {
    /// The tokenizer: that of an earlier run, of a file, or one trained on `texts`.
    ///
    /// # Errors
    /// Those of reading and training.
    pub fn tokenizer<T: Iterator<Item = String> + Send>(
        &self,
        saved: Option<String>,
        texts: impl FnOnce() -> T,
    ) -> Result<Tokenizer> {
        if let Some(json) = saved {
            return Tokenizer::from_json(json).context("the tokenizer of the run");
        }
        if let Some(path) = &self.path {
            return Tokenizer::open(path);
        }
        let tokenizer = Tokenizer::train(texts(), self.vocabulary)?;
        log::info!("trained a tokenizer of {} tokens", tokenizer.vocabulary);
        if let Some(dir) = self.run_dir.as_ref().filter(|dir| dir.is_dir()) {
            let file = dir.join("tokenizer.json");
            std::fs::write(&file, &tokenizer.json).context(file.display())?;
        }
        Ok(tokenizer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list<T: fluxbay_plugin::serde::de::DeserializeOwned>(value: &serde_json::Value) -> T {
        serde_json::from_value(value.clone()).unwrap()
    }

    #[test]
    fn ids_are_those_of_the_python_package() {
        let record: serde_json::Value =
            serde_json::from_str(include_str!("../tests/tokenizers.json")).unwrap();
        let texts: Vec<String> = list(&record["texts"]);
        let pairs: Vec<(String, String)> = list(&record["pairs"]);
        let length = record["length"].as_u64().unwrap() as usize;
        let cases = record["cases"].as_object().unwrap();
        assert_eq!(cases.len(), 4);
        for (name, case) in cases {
            let mut tokenizer = Tokenizer::from_json(case["tokenizer"].to_string()).unwrap();
            let whole: Vec<Vec<u32>> = list(&case["whole"]);
            for (text, expected) in texts.iter().zip(whole) {
                assert_eq!(tokenizer.ids(text).unwrap(), expected, "{name}: {text:?}");
            }
            let padding = list(&case["padding"]);
            if name != "byte_level" {
                assert_eq!(tokenizer.padding(None).unwrap(), padding, "{name}");
            }
            let ids: Vec<Vec<u32>> = list(&case["ids"]);
            let types: Vec<Vec<u32>> = list(&case["types"]);
            let lengths: Vec<usize> = list(&case["lengths"]);
            let samples = texts
                .iter()
                .map(|text| (text.as_str(), None))
                .chain(pairs.iter().map(|(text, pair)| (text.as_str(), Some(pair.as_str()))));
            for (at, sample) in samples.enumerate() {
                tokenizer.truncate(length, sample.1.is_some(), true).unwrap();
                let (mut found, mut kinds) = (vec![9; length], vec![9; length]);
                let count =
                    tokenizer.encode(sample, true, padding, &mut found, Some(&mut kinds)).unwrap();
                assert_eq!(
                    (&found, &kinds, count),
                    (&ids[at], &types[at], lengths[at]),
                    "{name}: {sample:?}"
                );
            }
        }
    }

    /// Compares with what `tests/reference/tokenizers_large.py` writes, where FLUXBAY_TEST_IDS names its
    /// folder.
    #[test]
    fn ids_of_a_large_text_are_those_of_the_python_package() {
        let Some(folder) = std::env::var_os("FLUXBAY_TEST_IDS").map(PathBuf::from) else { return };
        let text = std::fs::read_to_string(folder.join("text.txt")).unwrap();
        for kind in ["byte_level", "split_byte_level", "word_piece", "unigram"] {
            let tokenizer = Tokenizer::open(&folder.join(format!("{kind}.json"))).unwrap();
            let bytes = std::fs::read(folder.join(format!("{kind}.ids"))).unwrap();
            let (words, _) = bytes.as_chunks::<4>();
            let mut expected = words.iter().map(|word| u32::from_le_bytes(*word));
            let begin = std::time::Instant::now();
            let found: Vec<Vec<u32>> =
                text.split('\n').map(|line| tokenizer.ids(line).unwrap()).collect();
            let rate = text.len() as f64 / 1e6 / begin.elapsed().as_secs_f64();
            println!("{kind}: {rate:.1} MB/s on one thread");
            for (line, found) in text.split('\n').zip(&found) {
                let count = expected.next().unwrap() as usize;
                let expected: Vec<u32> = expected.by_ref().take(count).collect();
                assert_eq!(*found, expected, "{kind}: {line:?}");
            }
            assert!(expected.next().is_none(), "{kind}");
        }
    }

    #[test]
    fn special_tokens_are_found_or_asked_for() {
        let tokenizer = Tokenizer::train(["a b a b"].map(String::from).into_iter(), 258).unwrap();
        assert_eq!((tokenizer.padding(None).unwrap(), tokenizer.end(None).unwrap()), (0, 1));
        assert_eq!(tokenizer.padding(Some(END)).unwrap(), 1);
        let message = tokenizer.end(Some("<eot>")).unwrap_err().message().to_owned();
        assert_eq!(message, "end-token = \"<eot>\": the tokenizer has no such token");
        let plain = tokenizer.json.replace(PADDING, "<nothing>");
        let message = Tokenizer::from_json(plain).unwrap().padding(None).unwrap_err();
        assert!(message.message().contains("set padding-token"), "{message}");
        let few = Tokenizer::train(std::iter::empty(), 200).unwrap_err();
        assert!(few.message().contains("at least 258"), "{few}");
        assert!(Tokenizer::from_json("{}".into()).is_err());
    }

    #[test]
    fn a_length_without_room_for_special_tokens_is_refused() {
        let record: serde_json::Value =
            serde_json::from_str(include_str!("../tests/tokenizers.json")).unwrap();
        let json = record["cases"]["word_piece"]["tokenizer"].to_string();
        let mut tokenizer = Tokenizer::from_json(json).unwrap();
        assert!(tokenizer.truncate(3, false, true).is_ok());
        let error = tokenizer.truncate(3, true, true).unwrap_err();
        assert!(error.message().contains("length = 3: the tokenizer adds 3"), "{error}");
        assert!(
            tokenizer.truncate(2, false, true).is_err()
                && tokenizer.truncate(1, false, false).is_ok()
        );
    }
}
