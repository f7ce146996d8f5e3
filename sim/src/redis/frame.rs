//! Values of the protocol, cut out of bytes as they arrive.

use redis::Value;

/// What has arrived and is no whole value yet.
#[derive(Debug, Default)]
pub(crate) struct Frames(Vec<u8>);

impl Frames {
    /// Takes bytes that have arrived.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next whole value.
    pub(crate) fn next(&mut self) -> Option<Value> {
        let length = length(&self.0)?;
        let value = redis::parse_redis_value(&self.0[..length]);
        self.0.drain(..length);
        Some(value.expect("both sides of these worlds speak the protocol"))
    }
}

/// How many bytes the first value has, once it is whole.
fn length(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut missing) = (0, 1);
    while missing > 0 {
        missing -= 1;
        let rest = bytes.get(at..)?;
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let (mark, text) = rest[..end].split_first()?;
        at += end + 2;
        let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
        // A length below zero is that of nothing.
        let number = number.and_then(|number| usize::try_from(number).ok());
        match (mark, number) {
            (b'*', Some(parts)) => missing += parts,
            (b'$', Some(size)) => at += size + 2,
            _ => {}
        }
    }
    (at <= bytes.len()).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_out_whole_however_their_bytes_arrive() {
        let bytes = b"*3\r\n$3\r\na\r\n\r\n:5\r\n*2\r\n$-1\r\n+OK\r\n-ERR no\r\n";
        let expect = Value::Array(vec![
            Value::BulkString(b"a\r\n".to_vec()),
            Value::Int(5),
            Value::Array(vec![Value::Nil, Value::Okay]),
        ]);
        let mut frames = Frames::default();
        let mut values = Vec::new();
        for byte in bytes {
            frames.put(&[*byte]);
            values.extend(frames.next());
        }
        assert_eq!(values.len(), 2);
        assert_eq!(values[0], expect);
        assert!(matches!(&values[1], Value::ServerError(error) if error.code() == "ERR"));
    }
}
