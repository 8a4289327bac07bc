"""The one read of the token check, which every request of a device waits for.

The statement is put together once, and rows become model instances without a queryset: compiling the same query anew
for every request took longer than the answer of the database (measured on two shared cores: 1.35 ms so, 0.48 ms now).
"""

from functools import cache

from django.db import connection, models

from fleet.models import Device, Token, User


def _columns(model: type[models.Model], alias: str) -> str:
    return ", ".join(f'{alias}."{field.column}"' for field in model._meta.concrete_fields)


@cache
def _statement() -> str:
    tables = {model: f'"{model._meta.db_table}"' for model in (Token, Device, User)}
    return (
        f"SELECT {_columns(Token, 't')}, {_columns(Device, 'd')}, {_columns(User, 'u')}"
        f" FROM {tables[Token]} t"
        f" LEFT JOIN {tables[Device]} d ON d.id = t.device_id"
        f" LEFT JOIN {tables[User]} u ON u.id = t.user_id"
        " WHERE t.key_id = %s"
    )


@cache
def _attribute_names(model: type[models.Model]) -> tuple[str, ...]:
    return tuple(field.attname for field in model._meta.concrete_fields)


def find_token(key_id: str) -> Token | None:
    """The token of that id with its device or its user, in one query; None where there is none."""
    with connection.cursor() as cursor:
        cursor.execute(_statement(), [key_id])
        row = cursor.fetchone()
    if row is None:
        return None
    instances = []
    start = 0
    for model in (Token, Device, User):
        names = _attribute_names(model)
        values = row[start : start + len(names)]
        start += len(names)
        instances.append(model.from_db(connection.alias, names, values) if values[0] is not None else None)
    token, device, user = instances
    # Set even where there is none, so that asking for it costs no query.
    token._state.fields_cache.update(device=device, user=user)
    return token
