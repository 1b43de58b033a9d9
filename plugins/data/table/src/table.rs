//! A data set of tables, of any format.

use std::path::{Path, PathBuf};

use fluxbay_plugin::{
    prelude::*,
    steps::{DatasetSteps, RawInput, StepsOutput, ValueStep},
};

use crate::{
    column::Kind,
    config::{OnBadRow, Settings, Task},
    encoded::Encoded,
    encoding::{Encoding, Feature, Learned},
    header::{Chosen, Header},
    lists::{Element, Length, ListEncoding, ListForm},
    part::{Part, Slot},
    rows::{Columns, Rows},
    skipped,
    statistics::{Deviations, Sums},
};

/// Rows whose values are looked at together, feature by feature.
const TOGETHER: usize = 256;

/// A file with columns, at its first row.
pub trait Reader {
    /// Names of the columns.
    fn names(&self) -> &[String];

    /// What a column holds, if the file says so. Otherwise it follows from the values.
    fn kind(&self, column: usize) -> Option<Kind> {
        let _ = column;
        None
    }

    /// Whether columns are known by their names alone: files may have them in any order, and more of them.
    fn by_name(&self) -> bool {
        false
    }

    /// Passes all rows to `rows`.
    ///
    /// # Errors
    /// The file cannot be read; or those of `rows`.
    fn read(self: Box<Self>, rows: &mut Rows<'_>) -> Result<()>;
}

/// Opens a file.
pub type Open<'a> = &'a dyn Fn(&Path) -> Result<Box<dyn Reader + 'a>>;

/// The rows of one or two files, and what was learned from them.
#[derive(Debug)]
pub struct Table {
    /// Which columns are read, and how.
    pub settings: Settings,
    /// Where rows that are left out are reported.
    pub run_dir: Option<PathBuf>,
    /// What the training rows determine; none before the data set is opened.
    pub learned: Option<Learned>,
    /// Whether `learned` comes from another instance, so that nothing is learned here.
    restored: bool,
    /// The splits.
    pub parts: Vec<Part>,
}

impl Table {
    /// A table that is not open.
    pub fn new(settings: Settings) -> Table {
        Table { settings, run_dir: None, learned: None, restored: false, parts: Vec::new() }
    }

    /// Reads a file, again where the first pass shows that columns hold something else than
    /// assumed.
    fn read(
        &self,
        path: &Path,
        open: Open<'_>,
        kinds: impl FnOnce(&dyn Reader, &Header) -> Result<(Chosen, Vec<Kind>)>,
    ) -> Result<Columns> {
        let mut reader = open(path)?;
        let header = Header { names: reader.names().to_vec() };
        let (chosen, mut expected) = kinds(&*reader, &header)?;
        for (&index, kind) in chosen.features.iter().chain([&chosen.target]).zip(&expected) {
            let wanted = matches!(kind, Kind::Lists(form) if form.of != Element::Bytes);
            if matches!(reader.kind(index), Some(Kind::Lists(_))) && !wanted {
                bail!(
                    "{}: column `{}` holds lists: they are features, but no target, no categories and no bytes",
                    path.display(),
                    header.names[index]
                );
            }
        }
        loop {
            let mut rows = Rows::new(&self.settings, path, &header, &chosen, &expected);
            reader.read(&mut rows)?;
            match rows.finish()? {
                Ok(columns) => return Ok(columns),
                Err(other) => expected = other,
            }
            reader = open(path)?;
        }
    }

    /// The columns that are read of a file: those of the settings, or those that were learnt from.
    fn choose(
        &self,
        path: &Path,
        reader: &dyn Reader,
        header: &Header,
        learned: Option<&Learned>,
    ) -> Result<Chosen> {
        let Some(learned) = learned.filter(|_| reader.by_name()) else {
            return header.choose(path, &self.settings);
        };
        let names = learned.features.iter().map(|feature| feature.name.clone()).collect();
        // What the columns hold is known; others of the settings may be missing in this file.
        let settings = Settings {
            columns: Some(names),
            ignore: Vec::new(),
            categorical: Vec::new(),
            hashed: Vec::new(),
            ids: Vec::new(),
            bytes: Vec::new(),
            ..self.settings.clone()
        };
        header.choose(path, &settings)
    }

    /// Kinds of the columns that follow from the settings and the file.
    fn configured(&self, reader: &dyn Reader, chosen: &Chosen) -> Vec<Kind> {
        let Settings { buckets, length, vocabulary, .. } = self.settings;
        let length = Length::Any(length.unwrap_or(usize::MAX));
        let list = |of, vocabulary| Kind::Lists(ListForm { of, length, vocabulary });
        let feature = |index: &usize| match reader.kind(*index) {
            _ if chosen.hashed.contains(index) => Kind::Hashed(buckets),
            _ if chosen.bytes.contains(index) => list(Element::Bytes, None),
            _ if chosen.ids.contains(index) => list(Element::Ids, vocabulary),
            _ if chosen.categorical.contains(index) => Kind::Words,
            Some(Kind::Lists(_)) => list(Element::Numbers, None),
            kind => kind.unwrap_or(Kind::Auto),
        };
        let target = match self.settings.task {
            // Numbers may be classes.
            Task::Auto => {
                reader.kind(chosen.target).filter(|kind| *kind == Kind::Words).unwrap_or(Kind::Auto)
            }
            Task::Classification => Kind::Words,
            Task::Regression => Kind::Numbers,
        };
        chosen.features.iter().map(feature).chain([target]).collect()
    }

    /// Reads all files. `open` opens one.
    ///
    /// # Errors
    /// A file cannot be read, or does not have what the settings or an earlier run expect.
    pub fn open(&mut self, open: Open<'_>) -> Result<()> {
        let path = self.settings.path.clone();
        let mut names = Vec::new();
        let columns = self.read(&path, open, |reader, header| {
            names.clone_from(&header.names);
            let chosen = self.choose(&path, reader, header, self.learned.as_ref())?;
            let kinds = match &self.learned {
                Some(learned) => learned.kinds(&path, header, &chosen)?,
                None => self.configured(reader, &chosen),
            };
            Ok((chosen, kinds))
        })?;
        let mut skipped = vec![(path.clone(), columns.rows, columns.skipped.clone())];
        let format = self.settings.format;
        let known = self.learned.as_ref().map(Learned::categories);
        let column_names: Vec<String> =
            columns.columns.iter().map(|column| column.name.clone()).collect();
        let validation = self.settings.validation_path.clone();
        let name = if validation.is_some() { "training" } else { "all" };
        let (part, contents) = Part::new(name, columns, known.as_deref(), format);
        let learned = match &self.learned {
            Some(learned) => learned.clone(),
            None => Learned::new(&self.settings, column_names, contents, &part.lists)
                .context(path.display())?,
        };
        self.learned = Some(learned.clone());
        self.parts = vec![part];
        if let Some(validation) = validation {
            let held = self.read(&validation, open, |reader, header| {
                if header.names != names && !reader.by_name() {
                    bail!(
                        "{} has columns {}, {} has {}",
                        validation.display(),
                        header.names.join(", "),
                        path.display(),
                        names.join(", ")
                    );
                }
                let chosen = self.choose(&validation, reader, header, Some(&learned))?;
                let kinds = learned.kinds(&validation, header, &chosen)?;
                Ok((chosen, kinds))
            })?;
            skipped.push((validation.clone(), held.rows, held.skipped.clone()));
            let known = learned.categories();
            self.parts.push(Part::new("validation", held, Some(&known), format).0);
        }
        match self.settings.on_bad_row {
            OnBadRow::Error => Ok(()),
            OnBadRow::Skip => skipped::report(self.run_dir.as_deref(), &skipped),
        }
    }

    /// Number of inputs of a row.
    pub fn width(&self) -> usize {
        self.features().iter().map(|feature| feature.encoding.width()).sum()
    }

    /// The encoding of the features.
    pub fn features(&self) -> &[Feature] {
        self.learned.as_ref().map_or(&[], |learned| &learned.features)
    }

    /// As [`Dataset::learnt`].
    ///
    /// # Errors
    /// As there.
    pub fn learnt(&self) -> Result<Vec<u8>> {
        to_bytes(&self.learned)
    }

    /// As [`Dataset::restore`].
    ///
    /// # Errors
    /// As there.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let learned: Option<Learned> = from_bytes(bytes)?;
        learned.as_ref().map_or(Ok(()), Learned::check)?;
        (self.restored, self.learned) = (learned.is_some(), learned);
        Ok(())
    }

    /// As [`Dataset::fields`].
    pub fn fields(&self) -> Vec<Field> {
        let ys = match self.learned.as_ref().and_then(|learned| learned.classes.as_ref()) {
            Some(classes) => Field::labels("ys", classes.len()),
            None => Field::new("ys", DType::F32, &[1]),
        };
        let features = self.features();
        let mut own = self.own_fields().map(|(at, list)| (features[at].name.as_str(), list));
        let xs = match self.width() {
            0 => own.next().map(|(_, list)| list.field("xs")),
            width => Some(Field::new("xs", DType::F32, &[width])),
        };
        let others = own.map(|(name, list)| list.field(name));
        xs.into_iter().chain([ys]).chain(others).collect()
    }

    fn own_fields(&self) -> impl Iterator<Item = (usize, &ListEncoding)> {
        self.learned.iter().flat_map(Learned::own_fields)
    }

    /// The lists that are fields: the number of the field, the place of the feature, and the encoding.
    fn lists(&self) -> impl Iterator<Item = (usize, usize, &ListEncoding)> {
        // Without other inputs the first is the field `xs`. The second field is the target.
        let first = usize::from(self.width() > 0);
        let number = move |place: usize| if place == 0 { 0 } else { place + 1 };
        self.own_fields().zip(first..).map(move |((at, list), place)| (number(place), at, list))
    }

    /// As [`Dataset::ragged`].
    pub fn ragged(&self, field: usize) -> Option<Ragged> {
        self.lists().find(|(number, ..)| *number == field).and_then(|(.., list)| list.ragged())
    }

    /// As [`Dataset::steps`]: an input for each column, a number or the number of a category.
    pub fn steps(&self) -> Option<DatasetSteps> {
        let features = &self.learned.as_ref()?.features;
        let number = |name: &str, count: usize, (fill, shift, scale): (f64, f64, f64)| RawInput {
            name: name.to_owned(),
            dtype: "f64".to_owned(),
            shape: vec![count],
            steps: vec![
                ValueStep::Impute { values: vec![fill], indicators: false },
                ValueStep::Affine { axis: 0, offset: vec![shift], divisor: vec![scale] },
            ],
            categories: Vec::new(),
        };
        let input = |Feature { name, encoding }: &Feature| match encoding {
            Encoding::Number { fill, shift, scale } => {
                Some(number(name, 1, (*fill, *shift, *scale)))
            }
            Encoding::List(list) if list.is_input() => {
                Some(number(name, list.length, (list.fill, list.shift, list.scale)))
            }
            // No step has the hash, and other lists are none of the inputs.
            Encoding::Hashed { .. } | Encoding::List(_) => None,
            Encoding::Category { categories, .. } => Some(RawInput {
                name: name.clone(),
                dtype: "i64".to_owned(),
                shape: Vec::new(),
                steps: vec![ValueStep::OneHot { classes: categories.len() }],
                categories: categories.clone(),
            }),
        };
        let output = StepsOutput::from(&self.fields()[0]);
        Some(DatasetSteps { inputs: features.iter().map(input).collect::<Option<_>>()?, output })
    }

    /// As [`Dataset::splits`].
    pub fn splits(&self) -> Vec<Split> {
        self.parts.iter().map(|part| Split::new(part.name, part.rows())).collect()
    }

    /// As [`Dataset::prepare`].
    pub fn prepare(&mut self, split: usize, indices: &[u64]) {
        if self.restored {
            return;
        }
        let (part, standardize) = (&self.parts[split], self.settings.standardize);
        let Some(learned) = &mut self.learned else { return };
        let features = &learned.features;
        let mut sums = vec![Sums::default(); features.len()];
        let mut counts: Vec<Vec<u64>> = features
            .iter()
            .map(|feature| match &feature.encoding {
                Encoding::Category { categories, .. } => vec![0; categories.len()],
                Encoding::Hashed { buckets, .. } => vec![0; *buckets],
                Encoding::Number { .. } | Encoding::List(_) => Vec::new(),
            })
            .collect();
        for indices in indices.chunks(TOGETHER) {
            let rows = part.rows_at(indices);
            for ((slot, sums), counts) in part.slots.iter().zip(&mut sums).zip(&mut counts) {
                part.numbers(*slot, &rows, |value| sums.add(value));
                part.categories(*slot, &rows, |position| counts[position] += 1);
            }
        }
        let mut deviations: Vec<_> =
            sums.iter().map(|sums| Deviations::from(sums.mean())).collect();
        if standardize {
            for indices in indices.chunks(TOGETHER) {
                let rows = part.rows_at(indices);
                for (slot, deviations) in part.slots.iter().zip(&mut deviations) {
                    part.numbers(*slot, &rows, |value| deviations.add(value));
                }
            }
        }
        if self.settings.standardize_target && learned.classes.is_none() {
            let target = |index: &u64| f64::from(f32::from_bits(part.targets[*index as usize]));
            let mut sums = Sums::default();
            indices.iter().for_each(|index| sums.add(target(index)));
            let mut deviations = Deviations::from(sums.mean());
            indices.iter().for_each(|index| deviations.add(target(index)));
            let scaling = deviations.scaling(sums.count);
            learned.target_scaling = (sums.count > 0).then_some((scaling.mean, scaling.scale));
        }
        for (at, feature) in learned.features.iter_mut().enumerate() {
            match &mut feature.encoding {
                Encoding::Number { .. } | Encoding::List(_) if sums[at].count == 0 => {}
                Encoding::Number { fill, shift, scale }
                | Encoding::List(ListEncoding { fill, shift, scale, .. }) => {
                    *fill = sums[at].mean();
                    if standardize {
                        let scaling = deviations[at].scaling(sums[at].count);
                        (*fill, *shift, *scale) = (scaling.mean, scaling.mean, scaling.scale);
                    }
                }
                Encoding::Category { fill, .. } | Encoding::Hashed { fill, .. } => {
                    let most = counts[at].iter().max().copied().filter(|most| *most > 0);
                    // The first of the most frequent.
                    *fill =
                        most.and_then(|most| counts[at].iter().position(|count| *count == most));
                }
            }
        }
    }

    /// As [`Dataset::class_name`].
    pub fn class_name(&self, field: usize, class: usize) -> Option<String> {
        let classes = self.learned.as_ref()?.classes.as_ref()?;
        if field == 1 { classes.get(class).cloned() } else { None }
    }

    /// Writes rows to predict from. Their targets are 0.
    ///
    /// # Errors
    /// Those of the buffers.
    pub fn fill_inputs(
        &self,
        rows: &Encoded,
        context: &mut FillContext<'_>,
        indices: &[u64],
        buffers: &mut Buffers<'_>,
    ) -> Result<()> {
        let width = self.width();
        if width > 0 && buffers.wants(0) {
            for (place, index) in buffers.f32(0)?.chunks_exact_mut(width).zip(indices) {
                place.copy_from_slice(rows.inputs(*index as usize));
            }
        }
        for (field, at, list) in self.lists() {
            let Some(lists) = &rows.lists[at] else { continue };
            let rows = indices.iter().map(|index| *index as usize);
            list.fill((lists, rows), field, context, buffers)?;
        }
        if !buffers.wants(1) {
            return Ok(());
        }
        if self.learned.as_ref().is_some_and(|learned| learned.classes.is_some()) {
            buffers.u32(1)?.fill(0);
        } else {
            buffers.f32(1)?.fill(0.0);
        }
        Ok(())
    }

    /// As [`Dataset::fill_with`].
    ///
    /// # Errors
    /// Those of the buffers.
    pub fn fill(
        &self,
        context: &mut FillContext<'_>,
        indices: &[u64],
        buffers: &mut Buffers<'_>,
    ) -> Result<()> {
        let (part, features, width) = (&self.parts[context.split], self.features(), self.width());
        if width > 0 && buffers.wants(0) {
            for (place, index) in buffers.f32(0)?.chunks_exact_mut(width).zip(indices) {
                let row = part.row(*index as usize);
                let mut start = 0;
                for (feature, slot) in features.iter().zip(&part.slots) {
                    let end = start + feature.encoding.width();
                    match (&feature.encoding, *slot) {
                        (Encoding::List(list), Slot::List { at }) if list.is_input() => {
                            let numbers = part.lists[at].numbers(*index as usize);
                            list.write(numbers, &mut place[start..end]);
                        }
                        (encoding, slot) => {
                            encoding.write(slot.value(row), &mut place[start..end]);
                        }
                    }
                    start = end;
                }
            }
        }
        for (field, at, list) in self.lists() {
            let Slot::List { at } = part.slots[at] else { continue };
            let rows = indices.iter().map(|index| *index as usize);
            list.fill((&part.lists[at], rows), field, context, buffers)?;
        }
        if !buffers.wants(1) {
            return Ok(());
        }
        if self.learned.as_ref().is_some_and(|learned| learned.classes.is_some()) {
            for (place, index) in buffers.u32(1)?.iter_mut().zip(indices) {
                *place = part.targets[*index as usize];
            }
        } else {
            let scaling = self.learned.as_ref().and_then(|learned| learned.target_scaling);
            for (place, index) in buffers.f32(1)?.iter_mut().zip(indices) {
                let value = f32::from_bits(part.targets[*index as usize]);
                *place = match scaling {
                    Some((mean, scale)) => ((f64::from(value) - mean) / scale) as f32,
                    None => value,
                };
            }
        }
        Ok(())
    }
}
