//! Length-prefixed bytes: two different lists of fields never encode to the same bytes.

/// Bytes that are signed or bound to a ciphertext.
pub(crate) struct Fields(Vec<u8>);

impl Fields {
    /// Starts with what the bytes are for.
    pub(crate) fn new(domain: &str) -> Self {
        Self(Vec::new()).text(domain)
    }

    pub(crate) fn bytes(mut self, field: &[u8]) -> Self {
        // Every field is bounded far below 2^64 bytes.
        self.0
            .extend_from_slice(&(field.len() as u64).to_be_bytes());
        self.0.extend_from_slice(field);
        self
    }

    pub(crate) fn text(self, field: &str) -> Self {
        self.bytes(field.as_bytes())
    }

    pub(crate) fn number(self, field: i64) -> Self {
        self.bytes(&field.to_be_bytes())
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_run_into_each_other() {
        let one = Fields::new("d").text("ab").text("c").finish();
        let other = Fields::new("d").text("a").text("bc").finish();
        assert_ne!(one, other);
        assert_ne!(
            Fields::new("d").text("").finish(),
            Fields::new("d").finish()
        );
    }
}
