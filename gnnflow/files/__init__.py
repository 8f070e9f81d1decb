"""Arrays and records on disk, read and written with every check in one place.

`regular_file` opens what comes from outside; `json_text` and `json_record` read descriptions,
`npy_file`, `safetensors_header`, `table_file` and `array_file` (any of these by its ending) read
arrays. `whole_file` writes files and folders that are whole or not there, `array_sink` arrays piece
by piece, `reserved_file` those that are mapped; `folder_lock` lets one process in at a time.
"""
