"""Every layout of captioned images that is recognised: what marks it, its reader, an example.

A layout is told by what lies in the files, and by their names only where a release has fixed names.
docs/own-data.md shows the examples; a test holds both against each other.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from evals.data.captioned import Release
from evals.data.clip_benchmark import (
    find_clip_benchmark_json,
    find_flickr_csv,
    languages_of_cached,
    languages_of_flickr,
    read_clip_benchmark_json,
    read_flickr_csv,
)
from evals.data.coco import find_coco, read_coco
from evals.data.datasets_library import find_saved, read_saved
from evals.data.multilingual import (
    find_multi30k,
    find_xm3600,
    find_xtd,
    find_xtd200,
    languages_of_multi30k,
    languages_of_xm3600,
    languages_of_xtd,
    languages_of_xtd200,
    read_multi30k,
    read_xm3600,
    read_xtd,
    read_xtd200,
)
from evals.data.releases import (
    find_jsonl,
    find_karpathy,
    find_token,
    languages_of_jsonl,
    read_karpathy,
    read_plain_jsonl,
    read_token,
)
from evals.data.shards import find_shards, read_shards
from evals.data.table_files import (
    find_imagefolder,
    find_parquet,
    find_table,
    read_imagefolder,
    read_parquet_rows,
    read_table,
)
from evals.data.webdataset import find_webdataset, read_webdataset
from evals.schema import Source


def one_language(place: Path) -> Sequence[str]:
    """Most layouts hold one language and do not say which."""
    return ()


class Layout(NamedTuple):
    """A way to lay out captioned images; `about` names it in messages, `example` shows it in docs.

    `find(path, split)` gives what it recognises in a folder, or the file itself. Each of these is a
    place that `read(place, source)` reads. `languages(place)` are the subsets that it may be read as,
    none where there is one alone.
    """

    about: str
    example: str
    find: Callable[[Path, str], list[Path]]
    read: Callable[[Path, Source], Release]
    languages: Callable[[Path], Sequence[str]] = one_language


# The order is that of messages: first what people make themselves, then formats of libraries, then
# those of single releases. It decides nothing: a folder that two of them recognise is refused.
LAYOUTS: Mapping[str, Layout] = {
    "jsonl": Layout(
        "a captions.jsonl",
        'captions.jsonl: {"image": "a.jpg", "captions": ["a dog", "two dogs"]} per line, or '
        '"caption"; captions/de.jsonl ... for several languages',
        find_jsonl,
        read_plain_jsonl,
        languages_of_jsonl,
    ),
    "table": Layout(
        "a table in CSV, TSV or JSON with a column of image files",
        "captions.csv: image,caption and a line per caption; also .tsv, .txt, .json, .jsonl",
        find_table,
        read_table,
    ),
    # Called so by `datasets`: https://huggingface.co/docs/datasets/image_dataset
    "imagefolder": Layout(
        "an imagefolder's metadata.csv, .jsonl or .parquet",
        "metadata.csv: file_name,text, beside the images or in a folder per split",
        find_imagefolder,
        read_imagefolder,
    ),
    "parquet": Layout(
        "parquet files with a column of images",
        "data/test-00000-of-00001.parquet with image {bytes, path} and captions, as on the Hub",
        find_parquet,
        read_parquet_rows,
    ),
    "saved": Layout(
        "a folder of save_to_disk of `datasets`",
        "state.json and data-00000-of-00001.arrow, or dataset_dict.json and a folder per split",
        find_saved,
        read_saved,
    ),
    "webdataset": Layout(
        "a webdataset's <split>/nshards.txt",
        "test/nshards.txt and test/0.tar ..., as CLIP_benchmark writes them",
        find_webdataset,
        read_webdataset,
    ),
    # As img2dataset and webdataset's ShardWriter leave them: no file says how many there are.
    "shards": Layout(
        "webdataset shards *.tar",
        "00000.tar ... with a.jpg and a.txt (or a.json); a pattern: photos/{00000..00009}.tar",
        find_shards,
        read_shards,
    ),
    "karpathy": Layout(
        "Karpathy's JSON",
        'dataset_flickr8k.json, or another name: {"images": [{"filename", "split", "sentences": [{"raw"}]}]}',
        find_karpathy,
        read_karpathy,
    ),
    # The format of Flickr8k's and Flickr30k's first releases.
    "token": Layout(
        "a Flickr *.token file",
        "Flickr8k.token.txt: a.jpg#0, a tab, a caption; Flickr_8k.testImages.txt lists a split",
        find_token,
        read_token,
    ),
    "coco": Layout(
        "COCO's JSON of captions",
        'coco_test_karpathy.json, or another name: {"images": [{"id", "file_name"}], '
        '"annotations": [{"id", "image_id", "caption"}]}',
        find_coco,
        read_coco,
    ),
    "flickr_csv": Layout(
        "a flickr30k_<split>_karpathy.txt",
        "flickr8k_test_karpathy.txt: image,caption",
        find_flickr_csv,
        read_flickr_csv,
        languages_of_flickr,
    ),
    "clip_benchmark_json": Layout(
        "a <benchmark>-<language>.json of CLIP_benchmark",
        'xtd10-en.json: {"image_paths": [...], "annotations": [...]}',
        find_clip_benchmark_json,
        read_clip_benchmark_json,
        languages_of_cached,
    ),
    # From here on releases of single benchmarks, which are told by the names of their files.
    "xtd": Layout(
        "an XTD10 test_image_names.txt",
        "test_image_names.txt and test_1kcaptions_de.txt ...",
        find_xtd,
        read_xtd,
        languages_of_xtd,
    ),
    "xtd200": Layout(
        "an XTD200 or Flickr30k-200 list of image names",
        "test_image_names.txt and eng_Latn.txt ...",
        find_xtd200,
        read_xtd200,
        languages_of_xtd200,
    ),
    "xm3600": Layout(
        "a Crossmodal-3600 captions.jsonl",
        'captions.jsonl: {"image/key": "...", "en": {"caption": [...]}, ...}',
        find_xm3600,
        read_xm3600,
        languages_of_xm3600,
    ),
    "multi30k": Layout(
        "a Multi30k test_2016_flickr.txt",
        "test_2016_flickr.txt and test_2016_flickr.de ...",
        find_multi30k,
        read_multi30k,
        languages_of_multi30k,
    ),
}
