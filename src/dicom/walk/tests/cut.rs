use super::*;

/// The lengths at which a cut file cannot be detected: between two elements, while
/// nothing says that more must come.
fn unseen(parts: &[Set]) -> Vec<usize> {
    parts.iter().map(|set| set.file().len()).collect()
}

#[test]
fn an_instance_that_is_cut_at_any_byte_is_not_whole() {
    for syntax in SYNTAXES {
        let empty = || Set::new(syntax);
        let whole = empty().named().nested().pixels();
        let legal = match syntax {
            // The deflated stream has an end of its own.
            DEFLATED => Vec::new(),
            _ => {
                let uids = empty().named().bytes;
                let heads: Vec<usize> = elements_of(&uids, syntax);
                let mut sets: Vec<Set> = heads
                    .into_iter()
                    .map(|end| empty().raw(&uids[..end]))
                    .collect();
                let frames = || empty().named().nested().element(0x0028_0008, b"IS", b"2 ");
                sets.push(empty().named().nested());
                sets.push(frames());
                sets.push(frames().short(0x0028_0010, 4));
                sets.push(frames().short(0x0028_0010, 4).short(0x0028_0011, 4));
                if syntax == JPEG {
                    // Both fragments are there, and nothing can follow.
                    sets.push(
                        empty()
                            .named()
                            .nested()
                            .described(b"2 ")
                            .fragments(&[10, 22]),
                    );
                }
                unseen(&sets)
            }
        };
        let file = whole.file();
        for cut in 0..file.len() {
            let is_legal = legal.contains(&cut);
            for size in [cut.max(1), 1] {
                let result = in_chunks(&file[..cut], size);
                assert_eq!(result.is_ok(), is_legal, "{syntax}, {cut}: {result:?}");
            }
        }
        assert_eq!(walked(&file), Ok(NOTHING));
    }
}

/// Where the elements of a data set without sequences end.
fn elements_of(bytes: &[u8], syntax: &str) -> Vec<usize> {
    use crate::dicom::dataset::{DataSet, Head};
    let encoding = TransferSyntax::parse(syntax).expect("a UID").encoding();
    let mut ends = Vec::new();
    let mut at = 0;
    for element in DataSet::new(bytes, encoding).elements() {
        let element = element.expect("an element");
        let head = Head::read(&bytes[at..], encoding).expect("a head");
        at += head.size + element.bytes().len();
        ends.push(at);
    }
    ends
}

#[test]
fn a_cut_before_any_element_is_not_whole() {
    // A file that ends with its meta information has said nothing of itself.
    let file = Set::new(EXPLICIT).file();
    assert_eq!(walked(&file), Err(NotWhole::MetaCut));
    assert_eq!(walked(b""), Err(NotWhole::MetaCut));
    assert_eq!(walked(&[7; 200]), Err(NotWhole::NotPart10));
    let mut nameless = Set::new(EXPLICIT).named().file();
    let at = nameless.windows(4).position(|tag| tag == [2, 0, 0x10, 0]);
    nameless[at.expect("a transfer syntax") + 2] = 0x12;
    assert_eq!(walked(&nameless), Err(NotWhole::NoTransferSyntax));
}
