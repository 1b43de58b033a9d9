//! Frames on the private channel: magic, nonce, kind, length, payload.

/// Length of a nonce in bytes.
pub(super) const NONCE: usize = 16;
/// Limit of a frame's payload in bytes.
pub(super) const MAX_PAYLOAD: usize = 64 << 10;
const MAGIC: &[u8; 4] = b"FBPR";
const HEADER: usize = MAGIC.len() + NONCE + 1 + 4;

/// Kinds of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// What the child does next; the payload is text.
    Step = 1,
    /// The answer; the payload is JSON.
    Answer = 2,
    /// The answer is complete; no payload.
    End = 3,
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) payload: Vec<u8>,
}

/// The bytes of a frame.
pub(super) fn encode(nonce: &[u8; NONCE], kind: Kind, payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(MAX_PAYLOAD)];
    let length = u32::try_from(payload.len()).unwrap_or_default();
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend(MAGIC);
    bytes.extend(nonce);
    bytes.push(kind as u8);
    bytes.extend(length.to_le_bytes());
    bytes.extend(payload);
    bytes
}

/// Removes the first frame from `buffer`; `None` if it is not complete yet.
///
/// # Errors
/// The bytes are no frame with this nonce.
pub(super) fn take(
    buffer: &mut Vec<u8>,
    nonce: &[u8; NONCE],
) -> Result<Option<Frame>, &'static str> {
    let known = buffer.len().min(MAGIC.len());
    if buffer[..known] != MAGIC[..known] {
        return Err("bytes that are no frame");
    }
    let Some(header) = buffer.get(..HEADER) else { return Ok(None) };
    if header[4..4 + NONCE] != nonce[..] {
        return Err("a frame without this probe's nonce");
    }
    let kind = match header[4 + NONCE] {
        1 => Kind::Step,
        2 => Kind::Answer,
        3 => Kind::End,
        _ => return Err("a frame of an unknown kind"),
    };
    let length = u32::from_le_bytes([
        header[HEADER - 4],
        header[HEADER - 3],
        header[HEADER - 2],
        header[HEADER - 1],
    ]) as usize;
    if length > MAX_PAYLOAD {
        return Err("a frame longer than any may be");
    }
    let Some(payload) = buffer.get(HEADER..HEADER + length) else { return Ok(None) };
    let frame = Frame { kind, payload: payload.to_vec() };
    buffer.drain(..HEADER + length);
    Ok(Some(frame))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: [u8; NONCE] = *b"0123456789abcdef";

    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let mut all = encode(&KEY, Kind::Step, b"loading");
        all.extend(encode(&KEY, Kind::End, b""));
        for cut in 0..all.len() {
            let mut buffer = all[..cut].to_vec();
            let mut found = Vec::new();
            for rest in [&all[cut..], &[]] {
                while let Some(frame) = take(&mut buffer, &KEY).expect("sound") {
                    found.push(frame.kind);
                }
                buffer.extend(rest);
            }
            assert_eq!(found, [Kind::Step, Kind::End], "cut at {cut}");
        }
    }

    #[test]
    fn garbage_another_nonce_and_absurd_lengths_are_errors() {
        assert!(take(&mut b"hello".to_vec(), &KEY).is_err());
        assert!(take(&mut encode(b"another nonce 16", Kind::End, b""), &KEY).is_err());
        let mut long = encode(&KEY, Kind::Answer, b"");
        long[HEADER - 4..HEADER].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(take(&mut long, &KEY).is_err());
        let mut kind = encode(&KEY, Kind::Answer, b"");
        kind[4 + NONCE] = 9;
        assert!(take(&mut kind, &KEY).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5000))]

        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), head: bool) {
            if head {
                bytes.splice(0..0, encode(&KEY, Kind::Step, b"x"));
            }
            while let Ok(Some(_)) = take(&mut bytes, &KEY) {}
        }
    }
}
