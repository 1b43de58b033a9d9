//! The calls that every data set of a table passes on in the same way.

/// Writes the functions of `Dataset` that do not depend on the format of the files, within an `impl Dataset`
/// of a type with the fields `table: Table` and `inputs: Option<Inputs>`, where `Inputs` has a field
/// `rows: InputRows`. The format writes `open`, `open_inputs` and `read_inputs`.
#[macro_export]
macro_rules! of_table {
    () => {
        fn learnt(&self) -> Result<Vec<u8>> {
            self.table.learnt()
        }

        fn restore(&mut self, _: u32, bytes: &[u8]) -> Result<()> {
            self.table.restore(bytes)
        }

        fn fields(&self) -> Vec<Field> {
            self.table.fields()
        }

        fn ragged(&self, field: usize) -> Option<Ragged> {
            self.table.ragged(field)
        }

        fn splits(&self) -> Vec<Split> {
            self.table.splits()
        }

        fn prepare(&mut self, split: usize, indices: &[u64]) -> Result<()> {
            self.table.prepare(split, indices);
            Ok(())
        }

        fn class_name(&self, field: usize, class: usize) -> Option<String> {
            self.table.class_name(field, class)
        }

        fn steps(&self, _: &[usize]) -> Result<Option<DatasetSteps>> {
            Ok(self.table.steps())
        }

        fn input_key(&self, index: usize) -> String {
            self.inputs.as_ref().map_or_else(String::new, |inputs| inputs.rows.key(index))
        }

        fn fill(&self, _: usize, _: &[u64], _: &mut Buffers<'_>) -> Result<()> {
            // Not called where `plugin!` has `context: true`.
            Err(Error::new("samples are written by `fill_with`"))
        }

        fn fill_with(
            &self,
            context: &mut FillContext<'_>,
            indices: &[u64],
            buffers: &mut Buffers<'_>,
        ) -> Result<()> {
            match &self.inputs {
                Some(inputs) => {
                    self.table.fill_inputs(&inputs.rows.encoded, context, indices, buffers)
                }
                None => self.table.fill(context, indices, buffers),
            }
        }
    };
}
