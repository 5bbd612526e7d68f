//! Commands, as clients send them: an array of bulk strings, or a line.

/// The largest bulk string. A key has at most 1 KiB; what is echoed may be longer.
pub const BULK_MAX: usize = 64 * 1024;
/// Most arguments of a command, its name among them. No command of this front takes more than seven.
pub const ARGUMENTS_MAX: usize = 1_024;
/// The largest command: two of the largest bulk strings. Without it, one command were 64 MiB.
pub const COMMAND_MAX: usize = 2 * BULK_MAX;
/// Most digits of a length: more than any that is accepted has, and no number that overflows.
const DIGITS_MAX: usize = 10;

/// Finds commands in what a client sends, whole or in parts.
///
/// What has been looked at is not looked at again: a command that comes byte by byte costs as much as one that comes at
/// once. Where an argument stands is kept as a range, so nothing is copied.
///
/// [`next`](Self::next) is given everything from the beginning of a command on. When it found one, the caller drops as
/// much of the input as it says before it asks again; [`Self::forget`] begins anew at the same place.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Where the arguments stand that are whole.
    arguments: Vec<Range>,
    /// Up to where the input is known.
    at: usize,
    /// Arguments of the array that are still to come. `None`: not in an array.
    missing: Option<usize>,
}

/// Part of the input: from, to. A command is shorter than 4 GiB.
type Range = (u32, u32);

/// What is no command. Nothing can be read after it, since nobody knows where the next one begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProtocolError {
    /// Not a number, or more arguments than a command may have.
    #[error("invalid multibulk length")]
    ArrayLength,
    /// Not a number, negative, or more than a bulk string may have.
    #[error("invalid bulk length")]
    BulkLength,
    /// An argument that is no bulk string.
    #[error("expected '$', got '{}'", .0.escape_ascii())]
    NoBulk(u8),
    /// A bulk string that is longer than it says.
    #[error("expected CRLF after a bulk string")]
    BulkEnd,
    /// A line that does not end.
    #[error("too big inline request")]
    LineTooLong,
    /// Bulk strings that are too much together.
    #[error("too big request, a command has at most 131072 bytes")]
    TooLong,
    /// A browser that somebody sent here.
    #[error("this is not an HTTP server")]
    Http,
}

impl Decoder {
    /// Finds the command that `input` begins with, and says how many bytes it has. `None`: its end has not come.
    ///
    /// # Errors
    ///
    /// What is wrong, as soon as it is seen.
    pub fn next(&mut self, input: &[u8]) -> Result<Option<usize>, ProtocolError> {
        let found = match input.first() {
            None => return Ok(None),
            Some(b'*') => self.array(input)?,
            Some(_) => self.line(input)?,
        };
        if found.is_none() && COMMAND_MAX <= input.len() {
            return Err(ProtocolError::TooLong);
        }
        Ok(found)
    }

    /// The arguments of the command that was found in `input`; none for an empty line or array.
    #[must_use]
    pub fn arguments<'d, 'i>(&'d self, input: &'i [u8]) -> Arguments<'d, 'i> {
        Arguments {
            input,
            ranges: &self.arguments,
        }
    }

    /// Begins anew, with the next command or with the same.
    pub fn forget(&mut self) {
        self.arguments.clear();
        self.at = 0;
        self.missing = None;
    }

    /// Gives memory back that an idle connection does not need.
    pub fn shrink(&mut self) {
        // No command of this front has more: what had is seldom.
        self.arguments.shrink_to(8);
    }

    fn array(&mut self, input: &[u8]) -> Result<Option<usize>, ProtocolError> {
        let mut missing = match self.missing {
            Some(missing) => missing,
            None => match length(&input[1..], ProtocolError::ArrayLength)? {
                None => return Ok(None),
                Some((Length(count), _)) if ARGUMENTS_MAX < count => {
                    return Err(ProtocolError::ArrayLength);
                }
                Some((Length(count), bytes)) => {
                    self.at = 1 + bytes;
                    count
                }
            },
        };
        while missing != 0 {
            self.missing = Some(missing);
            let Some(end) = self.bulk(input)? else {
                return Ok(None);
            };
            self.at = end;
            missing -= 1;
        }
        self.missing = Some(0);
        Ok(Some(self.at))
    }

    /// The next argument, and where what follows it begins.
    fn bulk(&mut self, input: &[u8]) -> Result<Option<usize>, ProtocolError> {
        let Some((&kind, rest)) = input[self.at..].split_first() else {
            return Ok(None);
        };
        if kind != b'$' {
            return Err(ProtocolError::NoBulk(kind));
        }
        let Some((Length(bytes), head)) = length(rest, ProtocolError::BulkLength)? else {
            return Ok(None);
        };
        if BULK_MAX < bytes {
            return Err(ProtocolError::BulkLength);
        }
        let from = self.at + 1 + head;
        let to = from + bytes;
        if COMMAND_MAX < to {
            return Err(ProtocolError::TooLong);
        }
        match input.get(to..to + 2) {
            None => Ok(None),
            Some(b"\r\n") => {
                self.arguments.push((from as u32, to as u32));
                Ok(Some(to + 2))
            }
            Some(_) => Err(ProtocolError::BulkEnd),
        }
    }

    /// A command as people type it: words in a line, without quotes.
    fn line(&mut self, input: &[u8]) -> Result<Option<usize>, ProtocolError> {
        let end = input[self.at..].iter().position(|&byte| byte == b'\n');
        let Some(end) = end.map(|end| self.at + end) else {
            self.at = input.len();
            return match BULK_MAX < input.len() {
                true => Err(ProtocolError::LineTooLong),
                false => Ok(None),
            };
        };
        if BULK_MAX < end {
            return Err(ProtocolError::LineTooLong);
        }
        let line = &input[..end];
        let mut at = 0;
        for word in line.split(u8::is_ascii_whitespace) {
            if !word.is_empty() {
                self.arguments.push((at as u32, (at + word.len()) as u32));
            }
            at += word.len() + 1;
        }
        if ARGUMENTS_MAX < self.arguments.len() {
            return Err(ProtocolError::ArrayLength);
        }
        self.refuse_http(line)?;
        Ok(Some(end + 1))
    }

    /// A page that a browser shows may send whatever it likes to a port of this machine, but for how it begins.
    fn refuse_http(&self, line: &[u8]) -> Result<(), ProtocolError> {
        let arguments = self.arguments(line);
        let first = arguments.get(0).unwrap_or_default();
        let last = arguments.get(arguments.len().wrapping_sub(1));
        let is_http = first.eq_ignore_ascii_case(b"POST")
            || first.eq_ignore_ascii_case(b"Host:")
            || (1 < arguments.len() && last.unwrap_or_default().starts_with(b"HTTP/"));
        match is_http {
            true => Err(ProtocolError::Http),
            false => Ok(()),
        }
    }
}

/// A length; one below zero is none, as of an array that is not there.
struct Length(usize);

/// Reads a length and the end of its line, and says how many bytes they have. `None`: the end has not come.
fn length(input: &[u8], error: ProtocolError) -> Result<Option<(Length, usize)>, ProtocolError> {
    let is_negative = input.first() == Some(&b'-');
    if is_negative && error == ProtocolError::BulkLength {
        return Err(error);
    }
    let digits = &input[usize::from(is_negative)..];
    let mut number = 0;
    for (place, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' if place < DIGITS_MAX => number = number * 10 + usize::from(byte - b'0'),
            b'\r' if place != 0 => {
                let number = if is_negative { 0 } else { number };
                let bytes = usize::from(is_negative) + place + 2;
                return match digits.get(place + 1) {
                    None => Ok(None),
                    Some(b'\n') => Ok(Some((Length(number), bytes))),
                    Some(_) => Err(error),
                };
            }
            _ => return Err(error),
        }
    }
    Ok(None)
}

/// The arguments of a command, its name the first of them.
#[derive(Clone, Copy, Debug)]
pub struct Arguments<'d, 'i> {
    input: &'i [u8],
    ranges: &'d [Range],
}

impl<'i> Arguments<'_, 'i> {
    /// How many there are. None: an empty line or array.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// The argument at `place`, counted from 0, which is the name.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<&'i [u8]> {
        let &(from, to) = self.ranges.get(place)?;
        Some(&self.input[from as usize..to as usize])
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// All arguments from `place` on.
    pub fn from(&self, place: usize) -> impl Iterator<Item = &'i [u8]> + '_ {
        (place..self.len()).filter_map(|place| self.get(place))
    }
}

#[cfg(test)]
mod tests;
